#!/usr/bin/env python3
"""Reads forms and answers through tallyd, and shows what an error holds.

usage: client.py ADDRESS
The modules tallyd.v1 and google.rpc are generated from `tallyd proto --descriptor-set`: see generate.sh.
"""
import sys

import grpc
from google.rpc import error_details_pb2, status_pb2
from tallyd.v1 import (form_service_pb2, form_service_pb2_grpc, forms_pb2,
                       submission_service_pb2, submission_service_pb2_grpc)

DEADLINE_SECONDS = 10


def details(error):
    """Returns the details of an error by the name of their type: ErrorInfo, RetryInfo, BadRequest and others."""
    found = {}
    for key, value in error.trailing_metadata() or ():
        if key != "grpc-status-details-bin":
            continue
        for packed in status_pb2.Status.FromString(value).details:
            name = packed.type_url.rpartition(".")[2]
            message = getattr(error_details_pb2, name)()
            packed.Unpack(message)
            found[name] = message
    return found


def every_form(forms):
    """Yields all forms, page by page."""
    request = form_service_pb2.ListFormsRequest(page_size=5)
    while True:
        page = forms.ListForms(request, timeout=DEADLINE_SECONDS)
        yield from page.forms
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def show_answers(submissions, form):
    """Prints the newest submission of a form with its typed answers."""
    request = submission_service_pb2.ListSubmissionsRequest(form_id=form.id, page_size=1)
    page = submissions.ListSubmissions(request, timeout=DEADLINE_SECONDS)
    titles = {question.id: question.title for question in page.questions}
    for submission in page.submissions:
        for response in submission.responses:
            kind = response.WhichOneof("answer")
            answer = getattr(response, kind) if kind else response.answer_json
            print(f"  {titles.get(response.question_id) or response.question_type}: {kind} {str(answer).strip()!r}")


def show_error(call):
    """Makes a call that must fail and prints whose fault it is and when to try again."""
    try:
        call()
    except grpc.RpcError as error:
        found = details(error)
        info = found["ErrorInfo"]
        print(f"{error.code().name} {info.reason} says {info.domain}, outcome {info.metadata['outcome']}")
        for violation in found["BadRequest"].field_violations if "BadRequest" in found else ():
            print(f"  {violation.field}: {violation.description}")
        if "RetryInfo" in found:
            print(f"  try again in {found['RetryInfo'].retry_delay.ToSeconds()} s")
        return info.reason
    raise AssertionError("the call succeeded")


def main(address):
    with grpc.insecure_channel(address) as channel:
        forms = form_service_pb2_grpc.FormServiceStub(channel)
        submissions = submission_service_pb2_grpc.SubmissionServiceStub(channel)
        answered = None
        for form in every_form(forms):
            print(f"{form.id} {form.name!r} {forms_pb2.FormStatus.Name(form.status)} {form.submission_count} submissions")
            if form.submission_count and form.status == forms_pb2.FORM_STATUS_PUBLISHED:
                answered = answered or form
        show_answers(submissions, answered)
        get = lambda id: lambda: forms.GetForm(form_service_pb2.GetFormRequest(form_id=id), timeout=DEADLINE_SECONDS)
        show_error(get("../me"))
        show_error(get("nosuch"))
        # Tally allows 100 requests a minute; the pretend one behind `tallyd serve --sandbox` does too.
        for _ in range(150):
            try:
                get(answered.id)()
            except grpc.RpcError as error:
                if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:
                    break
        show_error(get(answered.id))


if __name__ == "__main__":
    main(sys.argv[1])
