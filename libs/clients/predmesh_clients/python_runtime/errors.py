"""How a call fails."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc

from .contracts import message_class, to_duration

_CODES: Mapping[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}
_DETAILS_KEY = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong with a request."""

    field: str
    """Path of the field, e.g. `instance.carrier` or `instances[3].distance_miles`."""
    description: str
    """What is wrong, with the nearest right value where one is near."""


@dataclass(eq=False)
class PredictionError(Exception):
    """Why a call, or one row of a stream, was not answered."""

    code: grpc.StatusCode
    """What kind of trouble it is, e.g. `INVALID_ARGUMENT`, `UNAVAILABLE` or `DEADLINE_EXCEEDED`."""
    message: str
    """What went wrong, in words."""
    reason: str = ""
    """Its cause, a name of predmesh.errors.v1.ErrorReason; empty where the call did not reach the mesh."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """The variables of the message."""
    violations: tuple[Violation, ...] = ()
    """What is wrong with the request, where it is the request's fault."""
    retry_after_seconds: float | None = None
    """When to come again, where the mesh says so."""
    request_id: str = ""
    """Id of the request in the mesh's logs; empty where it is not known."""

    def __str__(self) -> str:
        """The code, the reason and the message."""
        return f"{' '.join(filter(None, (self.code.name, self.reason)))}: {self.message}"


def from_call(error: Any) -> PredictionError:
    """The error that a call of grpc, or of grpc.aio, ended with."""
    serialized = dict(error.trailing_metadata() or ()).get(_DETAILS_KEY, b"")
    details = _details(message_class("google.rpc.Status").FromString(serialized).details)
    info = details["ErrorInfo"]
    return PredictionError(
        error.code(),
        error.details() or "",
        reason=info.reason,
        metadata=dict(info.metadata),
        violations=tuple(Violation(x.field, x.description) for x in details["BadRequest"].field_violations),
        retry_after_seconds=_seconds(details["RetryInfo"]),
        request_id=details["RequestInfo"].request_id,
    )


def from_stream(error: Any) -> PredictionError:
    """The error of one row of a stream, out of a StreamError."""
    return PredictionError(_CODES.get(error.code, grpc.StatusCode.UNKNOWN), error.message, error.reason)


def _details(packed: Iterable[Any]) -> dict[str, Any]:
    """The details of a Status by the names of their messages; one that is not there is empty."""
    names = ("ErrorInfo", "BadRequest", "RetryInfo", "RequestInfo")
    details = {name: message_class(f"google.rpc.{name}")() for name in names}
    for each in packed:
        name = each.type_url.rpartition(".")[2]
        if name in details:
            details[name].ParseFromString(each.value)
    return details


def _seconds(retry: Any) -> float | None:
    return to_duration(retry.retry_delay).total_seconds() if retry.HasField("retry_delay") else None
