"""What a request came to, in words that no protocol owns, so that two protocols can be held against each other."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

Place = tuple[int | None, str]
"""Row, None where none is named, and what in it; `(None, "rows")` stands for the rows as a whole."""

CODES = {code.value[0]: code.name for code in grpc.StatusCode}
"""Names of gRPC's codes by number."""

_ROWS = ("instances", "instance", "columns", "inputs")
_BY_ROW = re.compile(r"(?:instances\[(\d+)\]|instance)(?:\.(.*))?", re.DOTALL)
_BY_COLUMN = re.compile(r"(?:columns|inputs)\.([^\[]*)(?:\[(\d+)\](.*))?", re.DOTALL)


@dataclass(frozen=True)
class Outcome:
    """How one request ended; what a protocol does not carry is None.

    Attributes:
        code: name of the gRPC code; None of a failure that is told without one.
        reason: of predmesh.errors.v1.ErrorReason.
        message: in words, with the place of the first violation as `places` has it.
        metadata: of the error.
        violations: place, words, in order.
        rows: the outputs of each row, by name, as Python values.
        origin: model, version and bundle that answered.
        oddities: what is wrong with the answer whatever the others say, e.g. an HTTP status that is not the code's.
    """

    code: str | None = "OK"
    reason: str | None = ""
    message: str | None = ""
    metadata: Mapping[str, str] | None = None
    violations: Sequence[tuple[Place, str]] | None = ()
    rows: Sequence[Mapping[str, Any]] | None = ()
    origin: tuple[str, str, str] | None = None
    oddities: tuple[str, ...] = ()


def refused(status: status_pb2.Status, rows: int, oddities: tuple[str, ...] = ()) -> Outcome:
    """The outcome that *status* tells of a request of *rows* rows."""
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    request = error_details_pb2.RequestInfo()
    for detail in status.details:
        for target in (info, bad, request):
            if detail.Is(target.DESCRIPTOR):
                detail.Unpack(target)
    if not request.request_id:
        oddities = (*oddities, "no request id")
    violations = [(place(each.field, rows), each.description) for each in bad.field_violations]
    message = status.message
    if bad.field_violations and message.startswith(bad.field_violations[0].field):
        message = f"{violations[0][0]}{message[len(bad.field_violations[0].field) :]}"
    code = CODES.get(status.code, str(status.code))
    return Outcome(code, info.reason, message, dict(info.metadata), violations, oddities=oddities)


def in_band(code: int | None, reason: str | None, message: str, rows: int) -> Outcome:
    """The outcome that an error within a stream tells."""
    named = re.match(r"(?:instances?|columns|inputs)[^:]*", message)
    if named:
        message = f"{place(named[0], rows)}{message[named.end() :]}"
    return Outcome(None if code is None else CODES[code], reason, message, None, None)


def place(field: str, rows: int) -> Place:
    """Where *field* is, whatever the protocol calls it; a column of a single row is that row's."""
    if field in _ROWS[:1] or field in _ROWS[2:]:
        return (None, "rows")
    if found := _BY_ROW.fullmatch(field):
        return (int(found[1] or 0), found[2] or "")
    if found := _BY_COLUMN.fullmatch(field):
        row = int(found[2]) if found[2] else 0 if rows == 1 else None
        return (row, found[1] + (found[3] or ""))
    return (None, field)
