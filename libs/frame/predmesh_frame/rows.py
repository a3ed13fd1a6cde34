"""Rows of scalars as they came, made into columns only where somebody asks for one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from predmesh_frame.columns import Array, Column, DataType, object_array


@dataclass(frozen=True, slots=True)
class Field:
    """One column to be.

    Attributes:
        name: of the column.
        type: of its values.
        fill: stands in a row that has no value.
        defaulted: whether `fill` is a declared default, so that the row counts as present.
    """

    name: str
    type: DataType
    fill: Any
    defaulted: bool = False

    def column(self, values: Sequence[Any]) -> Column:
        """The column of *values*, of this type; None where there is none."""
        if None not in values:
            return Column(self.type, self._array(values))
        filled = self._array([self.fill if value is None else value for value in values])
        present = None if self.defaulted else np.array([value is not None for value in values], np.bool_)
        return Column(self.type, filled, present)

    def _array(self, values: Sequence[Any]) -> Array:
        dtype = self.type.numpy
        return object_array(values, (len(values),)) if dtype.hasobject else np.array(values, dtype)


class RowColumns(Mapping[str, Column]):
    """The columns of a frame that is kept row by row: rows of many frames are put together before any array is made.

    Attributes:
        fields: the columns, in order; frames of the same list can be put together.
        rows: one value a field and row, checked already; None where there is none.
    """

    __slots__ = ("_made", "fields", "rows")

    def __init__(self, fields: Sequence[Field], rows: Sequence[Sequence[Any]]) -> None:
        self.fields = fields
        self.rows = rows
        self._made: dict[str, Column] = {}

    def __getitem__(self, name: str) -> Column:
        """The column of that name."""
        made = self._made
        if not made:
            by_field = zip(*self.rows, strict=True) if self.rows else [()] * len(self.fields)
            made |= {field.name: field.column(values) for field, values in zip(self.fields, by_field, strict=True)}
        return made[name]

    def __contains__(self, name: object) -> bool:
        # The inherited one would make the columns.
        return any(field.name == name for field in self.fields)

    def __iter__(self) -> Iterator[str]:
        return (field.name for field in self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def take(self, rows: npt.NDArray[np.intp] | Sequence[int] | slice) -> RowColumns:
        """The given rows in the given order."""
        if isinstance(rows, slice):
            return RowColumns(self.fields, self.rows[rows])
        places = np.flatnonzero(rows) if isinstance(rows, np.ndarray) and rows.dtype == np.bool_ else rows
        return RowColumns(self.fields, [self.rows[place] for place in places])
