#!/usr/bin/env python3
"""Watches a form and keeps each completed submission once; docs/guides/watch.md explains it.

usage: watcher.py ADDRESS FORM FILE, with PYTHONPATH=examples/python/gen (see examples/python/generate.sh)

FILE is a SQLite database. A submission and the token behind it are stored in one transaction: whatever breaks, and whenever, the next
stream goes on behind the last submission that is stored.
"""
import random
import signal
import sqlite3
import sys
import time

import grpc
from google.rpc import error_details_pb2, status_pb2
from tallyd.v1 import submission_service_pb2 as api
from tallyd.v1 import submission_service_pb2_grpc

# A server that died without a word is noticed within 40 s; one that is back is found within 5 s, however long it was away.
OPTIONS = [("grpc.keepalive_time_ms", 30_000), ("grpc.keepalive_timeout_ms", 10_000), ("grpc.http2.max_pings_without_data", 0),
           ("grpc.max_reconnect_backoff_ms", 5_000)]

# Another call would end like this one.
HOPELESS = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION,
            grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNIMPLEMENTED)


def open_store(path):
    store = sqlite3.connect(path)
    with store:
        store.execute("create table if not exists submission (id text primary key, form text, sequence integer, body blob)")
        store.execute("create table if not exists place (form text primary key, token text)")
    return store


def take(store, form, message):
    """Stores what a message says, and its token with it."""
    event = message.event
    with store:
        if event.HasField("submission"):  # one that is there already came again behind a gap, or from the beginning of the log
            store.execute("insert or ignore into submission values (?, ?, ?, ?)",
                          (event.submission.id, form, event.sequence, event.submission.SerializeToString()))
        elif event.HasField("deleted"):
            store.execute("delete from submission where id = ?", (event.deleted.submission_id,))
        store.execute("insert or replace into place values (?, ?)", (form, message.resume_token))
    if event.HasField("submission"):
        print(f"submission {event.sequence}: {event.submission.id}", flush=True)
    elif event.HasField("deleted"):
        print(f"deleted {event.sequence}: {event.deleted.submission_id}", flush=True)
    elif event.HasField("gap"):
        print(f"lost: events {event.gap.first_sequence} to {event.gap.last_sequence}; what Tally still has comes again", flush=True)


def watch(stub, store, form):
    """Opens a stream behind what is stored, at first with the oldest event that the log has."""
    request = api.WatchSubmissionsRequest(form_ids=[form])
    place = store.execute("select token from place where form = ?", (form,)).fetchone()
    if place:
        request.resume_token = place[0]
    else:
        request.start_at = api.WATCH_START_EARLIEST
    return stub.WatchSubmissions(request)


def error_info(error):
    info = error_details_pb2.ErrorInfo()
    packed = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    any(detail.Unpack(info) for detail in status_pb2.Status.FromString(packed).details)
    return info


def mend(store, form, error):
    """Makes ready for the next stream, or ends the program where that would not help."""
    info = error_info(error)
    with store:
        if info.reason == "RESUME_TOKEN_EXPIRED":
            print("missed: some events were older than what the log keeps", flush=True)
            store.execute("insert or replace into place values (?, ?)", (form, info.metadata["oldest_resume_token"]))
        elif info.reason == "RESUME_TOKEN_INVALID":
            print("missed, perhaps: this is not the log that the token is of", flush=True)
            store.execute("delete from place where form = ?", (form,))
        elif error.code() in HOPELESS:
            sys.exit(f"{error.code().name} {info.reason}: {error.details()}")


def main(address, form, path):
    # SIGTERM ends the program between two messages or in the middle of one: it makes no difference.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    store = open_store(path)
    with grpc.insecure_channel(address, OPTIONS) as channel:
        stub = submission_service_pb2_grpc.SubmissionServiceStub(channel)
        pause = 0.1
        while True:
            try:
                for message in watch(stub, store, form):
                    take(store, form, message)
                    pause = 0.1
                # Its last heartbeat said `ending`: the server stops, or the connection is old. The next stream finds a better one.
            except grpc.RpcError as error:
                mend(store, form, error)
                time.sleep(pause * random.uniform(0.5, 1))
                pause = min(2 * pause, 5)


if __name__ == "__main__":
    main(*sys.argv[1:])
