"""What Triton's status codes and texts mean: it has few codes, and one of them for several faults."""

from __future__ import annotations

import re

import grpc

from predmesh_inference.domain import Fault

_ABSENT = re.compile(r"unknown model|is not found|has no available versions|is not ready", re.IGNORECASE)
_REFUSED = "the model failed on this input"
_OURS = re.compile(r"TritonModelException: (?P<text>.*?)(?:\n|$)")


def fault_of(code: grpc.StatusCode, details: str) -> Fault:
    """How an inference with this answer failed."""
    if _REFUSED in details:
        return Fault.REFUSED
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND) and _ABSENT.search(details):
        return Fault.ABSENT
    if code is grpc.StatusCode.UNAVAILABLE:
        return Fault.SERVER_DOWN
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Fault.LATE
    return Fault.BROKEN


def load_reason(details: str) -> str:
    """The cause of a failed load, out of Triton's answer: our backend's own words where it spoke."""
    found = _OURS.search(details)
    return found["text"] if found else details.strip() or "Triton gives no reason; see its log"
