"""What one value of an input must be: one rule an input, compiled once, applied to whole columns at C speed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from predmesh_bundle.nearest import nearest
from predmesh_frame import DataType
from predmesh_frame.columns import Array, object_array

from predmesh_prediction.values import EXACT, base64_bytes, integer, kind, shown, timestamp

_NAMED_CATEGORIES = 12
_INT_BOUNDS = {DataType.INT32: (-(2**31), 2**31 - 1), DataType.INT64: (-(2**63), 2**63 - 1)}
_FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a value is wrong.

    Attributes:
        text: the rule it breaks, in words; never holds the value.
        nearest: the value that would be right, as a caller would write it; empty when none is near.
    """

    text: str
    nearest: str = ""


class Rule(Protocol):
    """What one value of an input must be."""

    def one(self, value: object) -> Any | None:
        """The element that a JSON *value*, which is not null, stands for; None when it breaks the rule."""
        ...

    def read(self, values: Sequence[object]) -> Array | None:
        """The column of JSON *values*, none of them null; None when one of them breaks the rule."""
        ...

    def allows(self, values: Array) -> bool:
        """Whether every element of a typed column keeps the rule."""
        ...

    def fault(self, value: object) -> Fault:
        """Why *value*, which `read` or `allows` refused, is wrong."""
        ...


@dataclass(frozen=True, slots=True)
class BoolRule:
    """True or false."""

    def one(self, value: object) -> bool | None:
        """The boolean."""
        return value if type(value) is bool else None

    def read(self, values: Sequence[object]) -> Array | None:
        """The booleans."""
        return np.array(values, np.bool_) if set(map(type, values)) <= {bool} else None

    def allows(self, values: Array) -> bool:
        """Always; the type says it all."""
        return True

    def fault(self, value: object) -> Fault:
        """Says that it must be a boolean."""
        meant = value.casefold() if isinstance(value, str) else ""
        return Fault(f"must be true or false, not {kind(value)}", meant if meant in ("true", "false") else "")


@dataclass(frozen=True, slots=True)
class IntegerRule:
    """An integer within bounds."""

    type: DataType
    minimum: float | None = None
    maximum: float | None = None
    low: int = field(init=False)
    high: int = field(init=False)

    def __post_init__(self) -> None:
        low, high = _INT_BOUNDS[self.type]
        object.__setattr__(self, "low", low if self.minimum is None else max(low, math.ceil(self.minimum)))
        object.__setattr__(self, "high", high if self.maximum is None else min(high, math.floor(self.maximum)))

    def one(self, value: object) -> int | None:
        """The integer, given as a number or as a decimal string."""
        number = integer(value)
        return number if number is not None and self.low <= number <= self.high else None

    def read(self, values: Sequence[Any]) -> Array | None:
        """The integers, given as numbers or as decimal strings."""
        if set(map(type, values)) != {int} or min(values) <= -EXACT or max(values) >= EXACT:
            values = [integer(value) for value in values]
            if None in values:
                return None
        if values and not (self.low <= min(values) and max(values) <= self.high):
            return None
        return np.array(values, self.type.numpy)

    def allows(self, values: Array) -> bool:
        """Whether all are within the bounds."""
        return values.size == 0 or bool(self.low <= values.min() and values.max() <= self.high)

    def fault(self, value: object) -> Fault:
        """Says which form or bound is broken."""
        number = value if type(value) is int and not isinstance(value, bool) else integer(value)
        if isinstance(value, float) and math.isfinite(value) and not value.is_integer():
            return Fault("must be a whole number", str(round(value)))
        if type(value) not in (int, float, str) or (number is None and not isinstance(value, float)):
            return Fault(f"must be an integer, not {kind(value)}")
        if isinstance(value, float) and not math.isfinite(value):
            return Fault("must be a finite number")
        return self._out_of_bounds(number if number is not None else int(float(str(value))))

    def _out_of_bounds(self, number: int) -> Fault:
        if number < self.low:
            return Fault(_least(str(self.low), self.minimum, self.type), str(self.low))
        if number > self.high:
            return Fault(_most(str(self.high), self.maximum, self.type), str(self.high))
        return Fault("is beyond 2^53, where a JSON number is no longer exact: send it as a decimal string", str(number))


@dataclass(frozen=True, slots=True)
class NumberRule:
    """A finite number within bounds."""

    type: DataType
    minimum: float | None = None
    maximum: float | None = None
    low: float = field(init=False)
    high: float = field(init=False)

    def __post_init__(self) -> None:
        most = _FLOAT32_MAX if self.type is DataType.FLOAT else float(np.finfo(np.float64).max)
        object.__setattr__(self, "low", -most if self.minimum is None else max(-most, self.minimum))
        object.__setattr__(self, "high", most if self.maximum is None else min(most, self.maximum))

    def one(self, value: Any) -> float | None:
        """The number."""
        # NaN makes both comparisons false, and the bounds are finite.
        return value if type(value) in _NUMBERS and self.low <= value <= self.high else None

    def read(self, values: Sequence[Any]) -> Array | None:
        """The numbers."""
        if not set(map(type, values)) <= _NUMBERS or not all(map(math.isfinite, values)):
            return None
        if values and not (self.low <= min(values) and max(values) <= self.high):
            return None
        return np.array(values, self.type.numpy)

    def allows(self, values: Array) -> bool:
        """Whether all are finite and within the bounds."""
        # NaN makes both comparisons false.
        return values.size == 0 or bool(values.min() >= self.low and values.max() <= self.high)

    def fault(self, value: object) -> Fault:
        """Says which form or bound is broken."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return Fault(f"must be a number, not {kind(value)}", _as_number(value))
        if not math.isfinite(value):
            return Fault("must be a finite number; leave the input out where it is not known and not required")
        if value < self.low:
            return Fault(_least(shown(self.low), self.minimum, self.type), shown(self.low))
        return Fault(_most(shown(self.high), self.maximum, self.type), shown(self.high))


@dataclass(frozen=True, slots=True)
class TextRule:
    """A text, one of the categories where there are any."""

    categories: tuple[str, ...] = ()
    allowed: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "allowed", frozenset(self.categories))

    def one(self, value: object) -> str | None:
        """The text."""
        return value if type(value) is str and (not self.categories or value in self.allowed) else None

    def read(self, values: Sequence[object]) -> Array | None:
        """The texts."""
        if not set(map(type, values)) <= {str} or (self.categories and not self.allowed.issuperset(values)):
            return None
        return object_array(values, (len(values),))

    def allows(self, values: Array) -> bool:
        """Whether all are categories, where there are any."""
        return not self.categories or self.allowed.issuperset(values.ravel().tolist())

    def fault(self, value: object) -> Fault:
        """Says that it is no text, or none of the categories."""
        if not isinstance(value, str):
            return Fault(f"must be a string, not {kind(value)}")
        named = ", ".join(shown(one) for one in self.categories[:_NAMED_CATEGORIES])
        more = f", … ({len(self.categories)} in all)" if len(self.categories) > _NAMED_CATEGORIES else ""
        return Fault(f"must be one of {named}{more}", nearest(value, self.categories))


@dataclass(frozen=True, slots=True)
class EncodedRule:
    """A value written as text: a timestamp, or bytes."""

    decode: Callable[[object], Any]
    dtype: np.dtype[Any]
    form: str
    example: str

    def one(self, value: object) -> Any | None:
        """The decoded value."""
        return self.decode(value)

    def read(self, values: Sequence[object]) -> Array | None:
        """The decoded values."""
        decoded = [self.decode(value) for value in values]
        if None in decoded:
            return None
        return object_array(decoded, (len(decoded),)) if self.dtype == object else np.array(decoded, self.dtype)

    def allows(self, values: Array) -> bool:
        """Always; the type says it all."""
        return True

    def fault(self, value: object) -> Fault:
        """Says what form it must have."""
        also = "" if isinstance(value, str) else f", not {kind(value)}"
        return Fault(f"must be {self.form}, such as {shown(self.example)}{also}")


def rule_of(type: DataType, minimum: float | None, maximum: float | None, categories: tuple[str, ...]) -> Rule:
    """The rule of an input of *type*; bounds count for numbers, categories for text."""
    if type in _INT_BOUNDS:
        return IntegerRule(type, minimum, maximum)
    if type in (DataType.FLOAT, DataType.DOUBLE):
        return NumberRule(type, minimum, maximum)
    if type is DataType.STRING:
        return TextRule(categories)
    return _FIXED[type]


_NUMBERS = {int, float}
_FIXED: dict[DataType, Rule] = {
    DataType.BOOL: BoolRule(),
    DataType.TIMESTAMP: EncodedRule(
        timestamp, DataType.TIMESTAMP.numpy, "an RFC 3339 time with its offset", "2013-06-01T10:30:00Z"
    ),
    DataType.BYTES: EncodedRule(base64_bytes, DataType.BYTES.numpy, "base64 text", "aGVsbG8="),
}


def _least(low: str, declared: float | None, type: DataType) -> str:
    return f"must be at least {low}" if declared is not None else f"does not fit {type.name.lower()}"


def _most(high: str, declared: float | None, type: DataType) -> str:
    return f"must be at most {high}" if declared is not None else f"does not fit {type.name.lower()}"


def _as_number(value: object) -> str:
    try:
        number = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        return ""
    return shown(number) if math.isfinite(number) else ""
