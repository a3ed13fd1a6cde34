"""Rows of the parity model: what may be said of them in each form, and outputs as Python values."""

from __future__ import annotations

import base64
import math
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

MODEL = Path(__file__).parent / "model"
"""The bundle that the golden requests are for."""

EXPLAINABLE = Path(__file__).parent / "explainable"
"""The bundle that is asked why; it takes the same inputs."""

Row = Mapping[str, Any]
"""Values by input: numbers, text, bytes, times as RFC 3339 text, nested lists; None is null."""

EXACT = 2**53
"""From here on a JSON number no longer names one integer."""

_URL_SAFE = str.maketrans("+/", "-_")
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")
_BITS = {"int32": 31, "int64": 63}


class CannotSay(Exception):
    """A protocol has no form for what a case asks."""


@dataclass(frozen=True)
class AsNumber:
    """A number that JSON is to say as one, however large."""

    value: int


@dataclass(frozen=True)
class AsText:
    """A row that is sent as this text, which only a line or a message of its own can be."""

    text: str


@dataclass(frozen=True)
class Field:
    """An input or output as its bundle declares it."""

    name: str
    type: str
    shape: tuple[int, ...] = ()
    categories: tuple[str, ...] = ()
    enum: bool = False


def _fields(side: str, model: Path = MODEL) -> dict[str, Field]:
    declared = yaml.safe_load((model / "predmesh.yaml").read_text())[side]
    return {
        each["name"]: Field(
            each["name"],
            each["type"],
            tuple(each.get("shape", ())),
            tuple(each.get("categories", each.get("labels", ()))),
            each.get("enum", False),
        )
        for each in declared
    }


INPUTS = _fields("inputs")
OUTPUTS = _fields("outputs") | _fields("outputs", EXPLAINABLE)


def plain(value: Any, *, finite: bool) -> Any:
    """The JSON value that says *value*; *finite* is whether numbers must be.

    Raises:
        CannotSay: JSON has no such number.
    """
    match value:
        case AsNumber(number):
            return number
        case AsText():
            raise CannotSay("a row is a value")
        case bytes():
            return base64.b64encode(value).decode()
        case float() if finite and not math.isfinite(value):
            raise CannotSay("JSON has no NaN and no infinity")
        case int() if not isinstance(value, bool) and abs(value) >= EXACT:
            return str(value)
        case list():
            return [plain(each, finite=finite) for each in value]
        case dict():
            return {name: plain(each, finite=finite) for name, each in value.items()}
        case _:
            return value


def said(field: Field, value: Any) -> Any:
    """*value*, a single one, which a message or a tensor of the field's type can hold.

    Raises:
        CannotSay: it cannot.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match field.type:
        case "bool" if isinstance(value, bool):
            return value
        case "int32" | "int64" if number and isinstance(value, int) and -(2 ** _BITS[field.type]) <= value:
            if value < 2 ** _BITS[field.type]:
                return value
        case "float" | "double" if number:
            if field.type == "double" or not math.isfinite(value) or math.isfinite(single(value)):
                return float(value)
        case "string" if isinstance(value, str):
            return value
        case "bytes" if isinstance(value, bytes):
            return value
        case "timestamp" if isinstance(value, str):
            return value
        case _:
            pass
    raise CannotSay(f"{field.type} holds no {value!r:.40}")


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of a nested list. Raises CannotSay where it is ragged."""
    if not isinstance(value, list):
        return ()
    inner = {shape_of(each) for each in value}
    if len(inner) != 1:
        raise CannotSay("ragged, or empty")
    return (len(value), *inner.pop())


def flat(value: Any) -> list[Any]:
    """The single values in a nested list, row-major."""
    return list(chain.from_iterable(map(flat, value))) if isinstance(value, list) else [value]


def common_shape(values: Iterable[Any]) -> tuple[int, ...]:
    """The one shape of *values*. Raises CannotSay where they have several."""
    shapes = {shape_of(each) for each in values}
    if len(shapes) != 1:
        raise CannotSay("rows of several shapes")
    return shapes.pop()


def known(name: str) -> Field:
    """The input called *name*. Raises CannotSay where there is none."""
    if name not in INPUTS:
        raise CannotSay(f"no field {name!r}")
    return INPUTS[name]


def microseconds(text: str) -> int:
    """Microseconds since 1970 of an RFC 3339 text; finer digits are cut off. Raises CannotSay where it is none."""
    found = _RFC3339.fullmatch(text)
    if not found:
        raise CannotSay(f"{text!r} is no time")
    day, clock, fraction, zone = found.groups()
    try:
        whole = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone in 'Zz' else zone}")
    except ValueError:
        raise CannotSay(f"{text!r} is no time") from None
    since = whole - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + int((fraction or ".0")[1:7].ljust(6, "0"))


def output(name: str, value: Any) -> Any:
    """An output's *value*, in whatever form it came, in the one that outcomes are compared in.

    Floats are their shortest text, so that NaN equals NaN and -0 is not 0; a list of values is flat.
    """
    field = OUTPUTS[name]
    if isinstance(value, list):
        return [_one(field, each) for each in flat(value)]
    return _one(field, value)


def echo(row: Row) -> dict[str, Any]:
    """What the model answers to a row that it takes."""
    filled = {**_DEFAULTS, **{name: value for name, value in row.items() if value is not None}}
    triple = filled.get("triple", [math.nan] * 3)
    ratio = _quotient(filled["precise"], filled["divisor"])
    given = [name for name in _OPTIONAL if row.get(name) is not None]
    values = {
        **{name: filled[name] for name in ("flag", "small", "wide", "single", "precise", "text", "blob", "moment")},
        "colour": filled["kind"],
        "level": filled["level"],
        "triple": triple,
        "second": triple[1],
        "grid": filled["grid"],
        "moods_told": filled.get("moods", ["", ""]),
        "given": " ".join(given),
        "ratio": ratio,
        "ratios": [ratio, -ratio],
    }
    return {name: output(name, value) for name, value in values.items()}


_OPTIONAL = (
    *("triple", "moods", "maybe_flag", "maybe_wide", "maybe_precise", "maybe_text"),
    *("maybe_blob", "maybe_moment", "patient"),
)
_DEFAULTS: Row = {"level": "low", "grid": [[1, 2], [3, 4]], "divisor": 1.0}


def _one(field: Field, value: Any) -> Any:
    match field.type:
        case "float" | "double" if value is not None:
            return repr(single(value) if field.type == "float" else float(value))
        case "int32" | "int64":
            return int(value)
        case "bytes" if isinstance(value, str):
            return base64.urlsafe_b64decode(value.translate(_URL_SAFE) + "=" * (-len(value) % 4))
        case "timestamp" if isinstance(value, str):
            return microseconds(value)
        case _:
            return value


def single(value: float) -> float:
    """The nearest float of 32 bits."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def _quotient(dividend: float, divisor: float) -> float:
    """As IEEE 754 has it."""
    if divisor:
        return dividend / divisor
    if not dividend or math.isnan(dividend):
        return math.nan
    return math.copysign(math.inf, dividend) * math.copysign(1, divisor)


def check_rectangular(field: Field, value: Any) -> Sequence[Any]:
    """The single values of *value* where a flat list can stand for it.

    Raises:
        CannotSay: it is nested otherwise than its field; only a list of one dimension may be of another length.
    """
    shape = shape_of(value)
    if shape != field.shape and not (len(shape) == len(field.shape) == 1):
        raise CannotSay(f"a flat list has no shape {shape}")
    return [said(field, each) for each in flat(value)]
