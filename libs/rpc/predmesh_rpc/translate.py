"""What a stub raised, in the words of the mesh."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from predmesh_rpc.errors import (
    DeadlineExceeded,
    DependencyDown,
    FailedPrecondition,
    NotFound,
    NotOffered,
    PredmeshError,
    TooMuch,
)
from predmesh_rpc.status import DETAILS_KEY, from_status


def translate(error: grpc.RpcError, stage: str) -> PredmeshError:
    """The error to raise instead of what a stub of *stage* raised.

    A service of the mesh said what was wrong, and that is kept. Where only a code came (the peer is down, or is not
    of the mesh), the code decides; the peer's own text stays out of the message, for it holds addresses.
    """
    status = status_of(error)
    told = from_status(status) if status is not None else None
    if told is not None:
        return told
    return _by_code(_code(error), stage)


def status_of(error: grpc.RpcError) -> status_pb2.Status | None:
    """The google.rpc.Status that came with *error*; None if none did, or an unreadable one."""
    trailing: Any = getattr(error, "trailing_metadata", lambda: None)()
    for key, value in trailing or ():
        if key == DETAILS_KEY:
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None
    return None


def _code(error: grpc.RpcError) -> grpc.StatusCode:
    code: grpc.StatusCode = getattr(error, "code", lambda: grpc.StatusCode.UNKNOWN)()
    return code


def _by_code(code: grpc.StatusCode, stage: str) -> PredmeshError:
    match code:
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.CANCELLED:
            return DependencyDown("ERROR_REASON_STAGE_DOWN", f"{stage} does not answer; retry", stage=stage)
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineExceeded("ERROR_REASON_DEADLINE", f"{stage} did not answer in time", stage=stage)
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return TooMuch("ERROR_REASON_OVERLOADED", f"{stage} is overloaded, or the message is too long", stage=stage)
        case grpc.StatusCode.UNIMPLEMENTED:
            return NotOffered("ERROR_REASON_NOT_OFFERED", f"{stage} does not offer the method", stage=stage)
        case grpc.StatusCode.NOT_FOUND:
            return NotFound("ERROR_REASON_BUNDLE_UNKNOWN", f"{stage} does not know what was asked for", stage=stage)
        case grpc.StatusCode.INVALID_ARGUMENT | grpc.StatusCode.FAILED_PRECONDITION | grpc.StatusCode.OUT_OF_RANGE:
            return FailedPrecondition("ERROR_REASON_MODEL_FAILED", f"{stage} refused the request", stage=stage)
        case _:
            return PredmeshError("ERROR_REASON_INTERNAL", f"{stage} failed; its log has the rest", stage=stage)
