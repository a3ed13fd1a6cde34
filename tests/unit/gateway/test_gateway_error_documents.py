"""What Envoy itself answers is said in one table."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from google.rpc import error_details_pb2, status_pb2
from predmesh.errors.v1 import error_reason_pb2
from predmesh_gateway.errors import REASON, Fault, details_header, document, faults, local_reply_config

FAULTS = faults(max_body_bytes=1000)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, 3),
        (401, 16),
        (403, 7),
        (404, 5),
        (405, 12),
        (408, 4),
        (413, 3),
        (415, 3),
        (429, 8),
        (431, 3),
        (502, 14),
        (503, 14),
        (504, 4),
    ],
)
def test_a_status_means_one_code(status: int, code: int):
    assert {fault.code for fault in FAULTS if fault.status == status and not fault.open_ended} == {code}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.status}{fault.flag}")
def test_a_document_is_a_status_with_an_error_info(fault: Fault):
    found = document(fault)
    assert set(found) == {"code", "message", "details"}
    assert found["details"][0]["reason"] == REASON
    assert found["details"][0]["domain"] == "predmesh.dev"


def test_the_reason_is_one_of_the_contract():
    assert error_reason_pb2.ErrorReason.Value(REASON) > 0


def test_grpc_callers_get_the_same_reason_in_binary():
    header = details_header(Fault(503, 14, "gone", flag="UF"))
    status = status_pb2.Status.FromString(base64.b64decode(header + "=" * (-len(header) % 4)))
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (status.code, status.message) == (14, "gone")
    assert (info.reason, dict(info.metadata)) == (REASON, {"flags": "UF"})


def test_binary_details_hold_no_format_commands():
    for fault in FAULTS:
        assert b"%" not in base64.b64decode(details_header(fault) + "==")


def test_the_limit_is_named_where_it_was_exceeded():
    assert any("1000 bytes" in fault.message for fault in FAULTS if fault.status == 413)


def test_only_failures_are_mapped_but_for_the_healthy_answer():
    mappers = local_reply_config(FAULTS, health_path="/healthz")["mappers"]
    statuses = [first_status(mapper["filter"]) for mapper in mappers]
    assert [status for status in statuses if status < 400] == [200]


def test_a_flagged_fault_comes_before_the_general_one():
    flags = [fault.flag for fault in FAULTS if fault.status == 503]
    assert flags.index("") == len(flags) - 1


def first_status(found: dict[str, Any]) -> int:
    first = found["and_filter"]["filters"][0] if "and_filter" in found else found
    return int(first["status_code_filter"]["comparison"]["value"]["default_value"])
