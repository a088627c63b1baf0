#!/usr/bin/env python3
"""Watches a form and keeps each completed submission once; docs/guides/watch.md explains it.

usage: watcher.py ADDRESS FORM FILE, with PYTHONPATH=examples/python/gen (see examples/python/generate.sh)

FILE is a SQLite database. A submission and the token behind it are stored in one transaction: whatever breaks, and whenever, the next
start goes on behind the last submission that is stored.
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


def open_store(path):
    store = sqlite3.connect(path)
    store.execute("create table if not exists submission (id text primary key, sequence integer, body blob)")
    store.execute("create table if not exists place (only integer primary key check (only = 1), token text)")
    store.commit()
    return store


def token_of(store):
    row = store.execute("select token from place").fetchone()
    return row[0] if row else None


def take(store, message):
    """Stores what a message says, and its token with it."""
    event = message.event
    with store:
        if event.HasField("submission"):
            store.execute("insert or ignore into submission values (?, ?, ?)",
                          (event.submission.id, event.sequence, event.submission.SerializeToString()))
        elif event.HasField("deleted"):
            store.execute("delete from submission where id = ?", (event.deleted.submission_id,))
        store.execute("insert or replace into place values (1, ?)", (message.resume_token,))
    if event.HasField("gap"):
        print(f"lost: events {event.gap.first_sequence} to {event.gap.last_sequence}", flush=True)
    elif message.HasField("event"):
        print(f"{event.WhichOneof('event')} {event.sequence}", flush=True)


def watch(stub, store, form):
    """Watches until the stream ends; each has its time, and the next one goes on behind it."""
    token = token_of(store)
    request = api.WatchSubmissionsRequest(form_ids=[form])
    if token:
        request.resume_token = token
    for message in stub.WatchSubmissions(request):
        take(store, message)


def error_info(error):
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            info = error_details_pb2.ErrorInfo()
            for detail in status_pb2.Status.FromString(value).details:
                if detail.Unpack(info):
                    return info
    return error_details_pb2.ErrorInfo()


def main(address, form, path):
    # SIGTERM ends the program between two messages or in the middle of one: it makes no difference.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    store = open_store(path)
    with grpc.insecure_channel(address) as channel:
        stub = submission_service_pb2_grpc.SubmissionServiceStub(channel)
        pause = 0.1
        while True:
            try:
                watch(stub, store, form)
                pause = 0.1
            except grpc.RpcError as error:
                info = error_info(error)
                if info.reason == "RESUME_TOKEN_EXPIRED":
                    print("missed: some events are older than what the log keeps", flush=True)
                    with store:
                        store.execute("insert or replace into place values (1, ?)", (info.metadata["oldest_resume_token"],))
                elif error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED):
                    raise
                time.sleep(pause * random.uniform(0.5, 1))
                pause = min(2 * pause, 5)


if __name__ == "__main__":
    main(*sys.argv[1:])
