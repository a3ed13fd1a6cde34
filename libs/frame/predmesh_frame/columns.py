"""One typed column of rows, with its absent rows marked."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
"""An array of any element type."""

Mask = npt.NDArray[np.bool_]
"""True where a row is present."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class FrameError(ValueError):
    """A column that cannot be what it claims to be.

    Attributes:
        column: name of the column or tensor; empty when the frame itself is at fault.
        reason: what is wrong, in words a caller can act on.
    """

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(f"column {column!r}: {reason}" if column else reason)
        self.column = column
        self.reason = reason


class DataType(enum.IntEnum):
    """The types of values; the numbers are those of ``predmesh.type.v1.DataType``."""

    BOOL = 1
    INT32 = 2
    INT64 = 3
    FLOAT = 4
    DOUBLE = 5
    STRING = 6
    BYTES = 7
    TIMESTAMP = 8

    @property
    def numpy(self) -> np.dtype[Any]:
        """The element type of a column's array; object for text and bytes, microseconds as int64 for timestamps."""
        return _NUMPY[self]

    @property
    def packs(self) -> bool:
        """Whether values travel as little-endian bytes; text and bytes do not."""
        return self not in _UNPACKED

    @property
    def empty(self) -> Any:
        """What stands where a row is absent."""
        return _EMPTY.get(self, 0)


_NUMPY: dict[DataType, np.dtype[Any]] = {
    DataType.BOOL: np.dtype(np.bool_),
    DataType.INT32: np.dtype("<i4"),
    DataType.INT64: np.dtype("<i8"),
    DataType.FLOAT: np.dtype("<f4"),
    DataType.DOUBLE: np.dtype("<f8"),
    DataType.STRING: np.dtype(object),
    DataType.BYTES: np.dtype(object),
    DataType.TIMESTAMP: np.dtype("<i8"),
}
_UNPACKED = frozenset((DataType.STRING, DataType.BYTES))
_EMPTY: dict[DataType, Any] = {DataType.STRING: "", DataType.BYTES: b"", DataType.BOOL: False}


def microseconds(moment: datetime) -> int:
    """Microseconds between 1970-01-01T00:00:00Z and *moment*, which must be aware; exact."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(value: int) -> datetime:
    """The aware UTC time that is *value* microseconds after 1970-01-01T00:00:00Z."""
    return _EPOCH + value * _MICROSECOND


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    r"""Values of one type, one a row.

    The arrays are shared, not copied, and may be read-only: never write into them.

    Attributes:
        type: the type of every value.
        values: (rows, \*row_shape) of ``type.numpy``; what stands in an absent row means nothing.
        valid: (rows,) true where the row is present; None when every row is.
    """

    type: DataType
    values: Array
    valid: Mask | None = None

    @classmethod
    def of(cls, type: DataType, values: Sequence[Any] | Array, row_shape: tuple[int, ...] = ()) -> Column:
        """Column of Python *values*; None makes a row absent, an aware datetime becomes microseconds.

        Raises:
            FrameError: a value does not fit the type or *row_shape*.
        """
        present = [value is not None for value in values]
        filled = [_plain(value) if value is not None else _absent(type, row_shape) for value in values]
        try:
            array = _array(type, filled, (len(filled), *row_shape))
        except (TypeError, ValueError, OverflowError) as error:
            raise FrameError("", f"not {type.name.lower()} values: {error}") from None
        return cls(type, array, None if all(present) else np.array(present, dtype=np.bool_))

    @property
    def rows(self) -> int:
        """Number of rows, absent ones included."""
        return int(self.values.shape[0])

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row's value; empty for a scalar."""
        return self.values.shape[1:]

    @property
    def mask(self) -> Mask:
        """(rows,) true where the row is present, whether or not `valid` is kept."""
        return np.ones(self.rows, dtype=np.bool_) if self.valid is None else self.valid

    def take(self, rows: npt.NDArray[np.intp] | Sequence[int] | slice) -> Column:
        """The given rows in the given order; a slice shares memory."""
        return Column(self.type, self.values[rows], None if self.valid is None else self.valid[rows])

    def to_list(self) -> list[Any]:
        """Python values in row order, None for absent rows; timestamps stay microseconds."""
        values = self.values.tolist()
        if self.valid is None:
            return values  # type: ignore[no-any-return]
        return [value if present else None for value, present in zip(values, self.valid.tolist(), strict=True)]

    def __eq__(self, other: object) -> bool:
        """Whether type, shape, absences and present values are the same; NaN equals NaN."""
        if not isinstance(other, Column):
            return NotImplemented
        if self.type != other.type or self.values.shape != other.values.shape:
            return False
        mask = self.mask
        if not np.array_equal(mask, other.mask):
            return False
        floats = self.values.dtype.kind == "f"
        return bool(np.array_equal(self.values[mask], other.values[mask], equal_nan=floats))

    __hash__ = None  # type: ignore[assignment]


def object_array(values: Sequence[Any], shape: tuple[int, ...]) -> Array:
    """Array of Python objects; numpy alone would guess a text type.

    Raises:
        ValueError: the shape does not hold as many values.
    """
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array if len(shape) == 1 and shape[0] == len(array) else array.reshape(shape)


def _plain(value: Any) -> Any:
    return microseconds(value) if isinstance(value, datetime) else value


def _absent(type: DataType, row_shape: tuple[int, ...]) -> Any:
    return np.full(row_shape, type.empty, dtype=type.numpy).tolist() if row_shape else type.empty


def _array(type: DataType, values: list[Any], shape: tuple[int, ...]) -> Array:
    if type.packs:
        return np.asarray(values, dtype=type.numpy).reshape(shape)
    kind = str if type is DataType.STRING else bytes
    flat: list[Any] = values
    for _ in shape[1:]:
        flat = [item for value in flat for item in value]
    for value in flat:
        if not isinstance(value, kind):
            raise TypeError(f"{value!r:.40} is {value.__class__.__name__}")
    return object_array(flat, shape)
