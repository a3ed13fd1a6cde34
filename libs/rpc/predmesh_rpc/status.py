"""Errors as google.rpc.Status and back; the one table of codes."""

from __future__ import annotations

from collections.abc import Iterable

import grpc
from google.protobuf import any_pb2, message
from google.rpc import error_details_pb2, status_pb2

from predmesh_rpc.errors import (
    DeadlineExceeded,
    DependencyDown,
    FailedPrecondition,
    InvalidInput,
    NotFound,
    NotOffered,
    PermissionDenied,
    PredmeshError,
    TooMuch,
    Violation,
)

DOMAIN = "predmesh.dev"
"""Domain of every ErrorInfo of the mesh."""

DETAILS_KEY = "grpc-status-details-bin"
"""Trailing metadata key under which gRPC carries a google.rpc.Status."""

WIRE_BYTES = 4096
"""Most bytes of a Status in trailing metadata: gRPC clients refuse more than 8 KiB of it, base64 included."""

CODES: dict[type[PredmeshError], grpc.StatusCode] = {
    InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    TooMuch: grpc.StatusCode.RESOURCE_EXHAUSTED,
    DependencyDown: grpc.StatusCode.UNAVAILABLE,
    DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    NotOffered: grpc.StatusCode.UNIMPLEMENTED,
    PredmeshError: grpc.StatusCode.INTERNAL,
}
"""The gRPC code of each kind of error; a subclass has its parent's."""

ERRORS = {code: kind for kind, code in CODES.items()}
"""The kind of error of each gRPC code that the mesh sends."""

NUMBERS: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}
"""gRPC codes by the number that a Status carries."""

_MESSAGE_BYTES = 1024
_METADATA_BYTES = 512


def code_of(error: PredmeshError) -> grpc.StatusCode:
    """The gRPC code of *error*."""
    return next(CODES[kind] for kind in type(error).__mro__ if kind in CODES)


def to_status(error: PredmeshError, request_id: str = "", *, limit_bytes: int | None = WIRE_BYTES) -> status_pb2.Status:
    """The Status that tells *error* to the caller.

    Args:
        error: what to tell.
        request_id: sent as RequestInfo; empty leaves it out.
        limit_bytes: most bytes the Status may take; violations beyond it are counted, not listed. None lists all,
            which is right where the Status is the answer's body.
    """
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    for key, value in error.metadata.items():
        info.metadata[key] = _cut(value, _METADATA_BYTES) if limit_bytes else value
    text = _cut(error.message, _MESSAGE_BYTES) if limit_bytes else error.message
    status = status_pb2.Status(code=code_of(error).value[0], message=text, details=[_any(info)])
    if request_id:
        status.details.append(_any(error_details_pb2.RequestInfo(request_id=request_id)))
    if isinstance(error, TooMuch):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMicroseconds(round(error.retry_after_seconds * 1e6))
        status.details.append(_any(retry))
    if isinstance(error, InvalidInput) and error.violations:
        room = None if limit_bytes is None else limit_bytes - status.ByteSize()
        status.details.append(_any(_bad_request(error.violations, room)))
    return status


def from_status(status: status_pb2.Status) -> PredmeshError | None:
    """The error that `to_status` turned into *status*; None if no service of the mesh wrote it."""
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    _unpack(status.details, info, bad, retry)
    if info.domain != DOMAIN:
        return None
    kind = ERRORS.get(NUMBERS.get(status.code, grpc.StatusCode.INTERNAL), PredmeshError)
    metadata = dict(info.metadata)
    if kind is InvalidInput:
        error: PredmeshError = InvalidInput(info.reason, status.message, _violations(bad))
    elif kind is TooMuch:
        error = TooMuch(info.reason, status.message, retry.retry_delay.ToMicroseconds() / 1e6)
    else:
        error = kind(info.reason, status.message)
    error.metadata = metadata
    return error


def _any(detail: message.Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


def _unpack(details: Iterable[any_pb2.Any], *targets: message.Message) -> None:
    for detail in details:
        for target in targets:
            if detail.Is(target.DESCRIPTOR):
                detail.Unpack(target)


def _violations(bad: error_details_pb2.BadRequest) -> list[Violation]:
    return [Violation(each.field, each.description) for each in bad.field_violations]


def _bad_request(violations: tuple[Violation, ...], room: int | None) -> error_details_pb2.BadRequest:
    bad = error_details_pb2.BadRequest()
    used = 200  # the Any around it, and the line that counts the rest
    for number, violation in enumerate(violations):
        text = violation.description if room is None else _cut(violation.description, _METADATA_BYTES)
        one = error_details_pb2.BadRequest.FieldViolation(field=violation.field, description=text)
        used += one.ByteSize() + 3
        if room is not None and used > room:
            rest = len(violations) - number
            bad.field_violations.add(field="", description=f"and {rest} more; mend these first")
            break
        bad.field_violations.append(one)
    return bad


def _cut(text: str, limit_bytes: int) -> str:
    data = text.encode()
    return text if len(data) <= limit_bytes else data[: limit_bytes - 4].decode(errors="ignore") + " …"
