"""The known exceptions: where faces differ, and why they are let."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class KnownException:
    """A difference that is let be.

    Attributes:
        name: in few words.
        reason: why it is let be.
        face: of the faces that it is about.
        part: of the part of the outcome.
        case: of the names of the cases.
        applies: whether it covers what was wanted and what came.
        always: whether every run meets it.
    """

    name: str
    reason: str
    face: re.Pattern[str]
    part: re.Pattern[str]
    case: re.Pattern[str] = re.compile(r".*", re.DOTALL)
    applies: Callable[[Any, Any], bool] = lambda wanted, got: True
    always: bool = True


def _null_for_not_finite(wanted: Any, got: Any) -> bool:
    if isinstance(wanted, list):
        return isinstance(got, list) and len(wanted) == len(got) and all(map(_same_or_null, wanted, got))
    return _same_or_null(wanted, got)


def _same_or_null(wanted: Any, got: Any) -> bool:
    return wanted == got or (wanted in ("nan", "inf", "-inf") and got is None)


EXCEPTIONS = [
    KnownException(
        "null for NaN and infinities",
        "JSON has no such numbers. Answers as JSON objects, Structs of gRPC included, have `null` there; columns, "
        "typed messages and binary tensors keep the number.",
        re.compile("generic .*|(typed|oip) rest|typed (events|socket) stream"),
        re.compile("value of .*"),
        applies=_null_for_not_finite,
    ),
    KnownException(
        "a list of one for a single value",
        "A JSON array is no number; a column that holds arrays is of another shape, and is told so. Tensors of "
        "`[rows, 1]` are what many clients of the Open Inference Protocol send for single values, so they are "
        "taken.",
        re.compile("(columns|oip).*"),
        re.compile("code|reason|message|places|violations"),
        re.compile("(why )?a list of one for .*"),
    ),
    KnownException(
        "an input without a name",
        "A key of a JSON object may be empty and names a place; a column or tensor without a name is called by its "
        "position.",
        re.compile("(columns|oip).*"),
        re.compile("message|places|violations"),
        re.compile("(why )?an input without a name"),
    ),
    KnownException(
        "too many rows in tensors",
        "Each tensor says by itself how many rows it has, so the first that has too many is named, not the rows as "
        "a whole.",
        re.compile("oip.*"),
        re.compile("message|places|violations"),
        re.compile("10,001 rows"),
    ),
    KnownException(
        "long lists of violations",
        "Details take 4 KiB at most, for they travel in trailers. The places are longer in some protocols "
        "(`instances[7].small`, `columns.small[7]`), so a long list is cut one violation earlier or later; all say "
        "how many there are.",
        re.compile("(columns|typed|oip).*"),
        re.compile("violations"),
        re.compile("(why )?two hundred wrong rows"),
    ),
    KnownException(
        "bodies that cannot be read",
        "What is wrong with bytes is said in the terms of their format: JSON has a position, a message of protobuf "
        "has none.",
        re.compile(".* rest"),
        re.compile("message|metadata"),
        re.compile("no request but .*"),
    ),
    KnownException(
        "rows that are no JSON",
        "The position in a body of lines counts its lines; over a WebSocket each row is a message, whose lines are "
        "counted from 1.",
        re.compile(".* socket stream"),
        re.compile("message"),
        re.compile("a stream with a row that is .*"),
    ),
    KnownException(
        "the caller's own deadline",
        "Client, gateway and prediction each watch it, and who notices first answers: all say DEADLINE_EXCEEDED "
        "(504), the gateway with its own reason, and a gRPC client that gives up by itself without any.",
        re.compile(".*"),
        re.compile("reason|message|metadata|form"),
        re.compile("(why )?the caller's deadline"),
    ),
    KnownException(
        "the bundle's budget",
        "Prediction and the stage at work each watch it, and who notices first answers: all say DEADLINE_EXCEEDED and "
        "ERROR_REASON_DEADLINE, each in its words.",
        re.compile(".*"),
        re.compile("message|metadata"),
        re.compile("(why )?longer than the budget"),
        always=False,
    ),
    KnownException(
        "which row makes the model fail",
        "Finding it takes further runs of the model. Where nothing has gone through for a second they are made once a "
        "second at most; who comes in between hears that the model failed, and not on which row.",
        re.compile(".*"),
        re.compile("message|metadata"),
        re.compile("(why )?the model fails on one row of three"),
        always=False,
    ),
]
