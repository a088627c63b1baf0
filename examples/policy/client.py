#!/usr/bin/env python3
"""Lists what a caller sees of Tally, and asks for somebody else's form; docs/guides/policy.md explains it.

usage: client.py ADDRESS CERTIFICATES CALLER, with PYTHONPATH=examples/python/gen (see examples/python/generate.sh)
"""
import sys

import grpc
from google.rpc import error_details_pb2, status_pb2
from tallyd.v1 import form_service_pb2, form_service_pb2_grpc


def credentials(directory, caller):
    ca, key, certificate = (open(f"{directory}/{name}", "rb").read() for name in ("ca.pem", f"{caller}.key", f"{caller}.pem"))
    return grpc.ssl_channel_credentials(ca, key, certificate)


def reason(error):
    """Returns whose verdict an error is, and its reason."""
    packed = dict(error.trailing_metadata())["grpc-status-details-bin"]
    info = error_details_pb2.ErrorInfo()
    next(detail for detail in status_pb2.Status.FromString(packed).details if detail.Unpack(info))
    return f"{info.domain} {info.reason}"


def main(address, directory, caller):
    with grpc.secure_channel(address, credentials(directory, caller)) as channel:
        forms = form_service_pb2_grpc.FormServiceStub(channel)
        page = forms.ListForms(form_service_pb2.ListFormsRequest(), timeout=10)
        print(f"{caller} sees {page.total_size} forms: {' '.join(form.id for form in page.forms)}")
        try:
            forms.GetForm(form_service_pb2.GetFormRequest(form_id="Repair"), timeout=10)
        except grpc.RpcError as error:
            print(f"and of another: {error.code().name}, {reason(error)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
