"""Whether one written value is what an input allows; for examples, defaults and warm-up rows, not for requests."""

import base64
import binascii
import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

from predmesh_frame import DataType

from predmesh_bundle.nearest import hint
from predmesh_bundle.schema import Input, bound_text

LARGEST_EXACT = 2**53 - 1
"""Up to here a JSON number names one integer (RFC 8259, 6)."""

_NUMBERS = (DataType.INT32, DataType.INT64, DataType.FLOAT, DataType.DOUBLE)


def is_number(type: DataType) -> bool:
    """Whether values of *type* have an order and a range."""
    return type in _NUMBERS


def exact(type: DataType, value: Any) -> Any:
    """*value* as requests say it: its integers that no JSON number names are decimal strings."""
    if isinstance(value, list | tuple):
        return [exact(type, each) for each in value]
    beyond = type is DataType.INT64 and isinstance(value, int) and abs(value) > LARGEST_EXACT
    return str(value) if beyond else value


def value_problem(given: Input, value: Any) -> str | None:
    """Why *given* does not allow *value*; None where it does."""
    try:
        for scalar in _scalars(value, given.shape):
            _CHECKS[given.type](scalar)
            _within(given, scalar)
    except ValueError as error:
        return str(error)
    return None


def _scalars(value: Any, shape: tuple[int, ...]) -> list[Any]:
    if not shape:
        return [value]
    if not isinstance(value, list) or len(value) != shape[0]:
        raise ValueError(f"a list of {shape[0]} values is needed, for the shape is {list(shape)}")
    return [scalar for each in value for scalar in _scalars(each, shape[1:])]


def _within(given: Input, value: Any) -> None:
    if given.minimum is not None and is_number(given.type) and value < given.minimum:
        raise ValueError(f"{value!r} is below the minimum, {bound_text(given.minimum)}")
    if given.maximum is not None and is_number(given.type) and value > given.maximum:
        raise ValueError(f"{value!r} is above the maximum, {bound_text(given.maximum)}")
    if given.categories and isinstance(value, str) and value not in given.categories:
        raise ValueError(f"{value!r} is none of the categories; {hint(value, given.categories)}")


def _bool(value: Any) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")


def _integer(bits: int) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"{value!r} is no integer")
        if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
            raise ValueError(f"{value!r} does not fit into {bits} bits")

    return check


def _float(value: Any) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"{value!r} is no number")
    if not math.isfinite(value):
        raise ValueError(f"{value!r} is not finite")


def _string(value: Any) -> None:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text: put it in quotes")


def _bytes(value: Any) -> None:
    _string(value)
    try:
        base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise ValueError(f"{value!r} is no base64") from error


def _timestamp(value: Any) -> None:
    _string(value)
    try:
        time = datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"{value!r} is no RFC 3339 time such as 2013-12-31T23:59:00Z") from error
    if time.tzinfo is None:
        raise ValueError(f"{value!r} names no time zone: add Z for UTC")


_CHECKS: dict[DataType, Callable[[Any], None]] = {
    DataType.BOOL: _bool,
    DataType.INT32: _integer(32),
    DataType.INT64: _integer(64),
    DataType.FLOAT: _float,
    DataType.DOUBLE: _float,
    DataType.STRING: _string,
    DataType.BYTES: _bytes,
    DataType.TIMESTAMP: _timestamp,
}
