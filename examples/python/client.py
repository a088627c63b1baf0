#!/usr/bin/env python3
"""What a client of tallyd does, step by step; docs/clients.md explains it.

usage: client.py ADDRESS [DIR]
With DIR by TLS: ca.crt there says whom to trust, tls.crt and tls.key who this client is. TALLYD_TOKEN may hold a bearer token.
The modules below gen/ are generated from `tallyd proto --descriptor-set`: see generate.sh.
"""
import os
import sys
import time

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tallyd.v1 import (form_service_pb2, form_service_pb2_grpc, forms_pb2,
                       submission_service_pb2, submission_service_pb2_grpc)

DEADLINE = 10  # seconds

# Reads may be repeated. Writes are not named: one that may have happened must not happen twice.
SERVICE_CONFIG = """{"methodConfig": [{
  "name": [
    {"service": "tallyd.v1.FormService", "method": "GetForm"},
    {"service": "tallyd.v1.FormService", "method": "ListForms"},
    {"service": "tallyd.v1.SubmissionService", "method": "ListSubmissions"}
  ],
  "retryPolicy": {
    "maxAttempts": 3, "initialBackoff": "0.2s", "maxBackoff": "2s", "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"]
  }
}]}"""


def connect(address, tls=None):
    options = [("grpc.service_config", SERVICE_CONFIG)]
    if tls is None:
        return grpc.insecure_channel(address, options)
    ca, key, cert = (open(os.path.join(tls, name), "rb").read() for name in ("ca.crt", "tls.key", "tls.crt"))
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(ca, key, cert), options)


def get_form(forms, form_id):
    request = form_service_pb2.GetFormRequest(form_id=form_id)
    return forms.GetForm(request, timeout=DEADLINE).form


def list_forms(forms):
    request, pages = form_service_pb2.ListFormsRequest(page_size=5), 0
    found = []
    while not pages or request.page_token:
        page = forms.ListForms(request, timeout=DEADLINE)
        found += page.forms
        pages, request.page_token = pages + 1, page.next_page_token
    print(f"list: {len(found)} forms on {pages} pages")


def show_form(forms, form_id):
    form = get_form(forms, form_id)
    print(f"get: {form.id}, {form.name}, {forms_pb2.FormStatus.Name(form.status)}, {form.submission_count} submissions")


def show_answers(submissions, form_id):
    """Prints the newest submission of a form; each answer is typed by its question."""
    request = submission_service_pb2.ListSubmissionsRequest(form_id=form_id, page_size=1)
    page = submissions.ListSubmissions(request, timeout=DEADLINE)
    titles = {question.id: question.title for question in page.questions}
    for response in page.submissions[0].responses:
        kind = response.WhichOneof("answer")
        if kind == "text":
            answer = response.text
        elif kind == "number":
            answer = f"{response.number:.1f}"
        elif kind == "date":
            answer = f"{response.date.year}-{response.date.month:02}-{response.date.day:02}"
        elif kind == "choices":
            answer = ", ".join(choice.label for choice in response.choices.choices)
        else:
            answer = "of another kind"
        print(f"answer: {titles[response.question_id] or response.question_type}: {answer}")


def details(error):
    """Returns the details of an error by the name of their type: ErrorInfo, RetryInfo, BadRequest and others."""
    found = {}
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for packed in status_pb2.Status.FromString(value).details:
                message = getattr(error_details_pb2, packed.TypeName().rpartition(".")[2])()
                packed.Unpack(message)
                found[message.DESCRIPTOR.name] = message
    return found


def show_error(forms, form_id):
    try:
        get_form(forms, form_id)
    except grpc.RpcError as error:
        found = details(error)
        info = found["ErrorInfo"]
        line = f"error: {error.code().name} {info.reason} says {info.domain}, outcome {info.metadata['outcome']}"
        for violation in found["BadRequest"].field_violations if "BadRequest" in found else ():
            line += f", field {violation.field}"
        if "RetryInfo" in found:
            line += f", try again in {found['RetryInfo'].retry_delay.seconds} s"
        print(line)


def too_late(forms):
    try:  # Tally is slow with QuizMe.
        forms.GetForm(form_service_pb2.GetFormRequest(form_id="QuizMe"), timeout=0.3)
    except grpc.RpcError as error:
        print(f"deadline: {error.code().name}")


def cancel(forms):
    call = forms.GetForm.future(form_service_pb2.GetFormRequest(form_id="QuizMe"), timeout=DEADLINE)
    time.sleep(0.5)
    call.cancel()
    print(f"cancel: {call.code().name}")


def show_metadata(forms):
    metadata = [("x-request-id", "example-1")]
    if token := os.environ.get("TALLYD_TOKEN"):
        metadata.append(("authorization", f"Bearer {token}"))
    request = form_service_pb2.GetFormRequest(form_id="Contct")
    _, call = forms.GetForm.with_call(request, timeout=DEADLINE, metadata=metadata)
    trailers = dict(call.trailing_metadata())
    print(f"metadata: tallyd-request-id {trailers['tallyd-request-id']}, tallyd-cost {trailers['tallyd-cost']}")


def show_health(health):
    status = health.Check(health_pb2.HealthCheckRequest(), timeout=DEADLINE).status
    print(f"health: {health_pb2.HealthCheckResponse.ServingStatus.Name(status)}")
    stream = health.Watch(health_pb2.HealthCheckRequest())
    print(f"watch: {health_pb2.HealthCheckResponse.ServingStatus.Name(next(stream).status)}")
    stream.cancel()


def main(address, tls=None):
    with connect(address, tls) as channel:
        forms = form_service_pb2_grpc.FormServiceStub(channel)
        submissions = submission_service_pb2_grpc.SubmissionServiceStub(channel)
        list_forms(forms)
        show_form(forms, "Feedbk")
        for form_id in ("Feedbk", "Holidy"):
            show_answers(submissions, form_id)
        for form_id in ("nosuch", "../me", "Raffle"):
            show_error(forms, form_id)
        # Tally fails twice here, and so does the first call: the channel repeats it.
        print(f"retry: {get_form(forms, 'Holidy').id}")
        too_late(forms)
        cancel(forms)
        show_metadata(forms)
        show_health(health_pb2_grpc.HealthStub(channel))


if __name__ == "__main__":
    main(*sys.argv[1:])
