"""A batch of rows, column by column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from predmesh_frame.blocks import BlockColumns, ColumnBlock, alike, joined
from predmesh_frame.columns import Column, FrameError
from predmesh_frame.rows import Field, RowColumns


@dataclass(frozen=True, slots=True)
class Frame:
    """Columns of the same number of rows, by name; neither the mapping nor the arrays are ever changed.

    Attributes:
        rows: number of rows; 0 or more.
        columns: the columns by name, in the order they were given; `BlockColumns` where many came as one, `RowColumns`
            where the rows were kept as they came.
    """

    rows: int
    columns: Mapping[str, Column] = field(default_factory=dict)

    @classmethod
    def of(cls, columns: Mapping[str, Column]) -> Frame:
        """Frame of *columns*, with as many rows as they have.

        Raises:
            FrameError: the columns differ in their number of rows, or there is none to tell it.
        """
        if not columns:
            raise FrameError("", "a frame without columns has no number of rows; say Frame(rows)")
        frame = cls(next(iter(columns.values())).rows, columns)
        frame.check()
        return frame

    @classmethod
    def of_blocks(cls, rows: int, single: Mapping[str, Column], blocks: Sequence[ColumnBlock]) -> Frame:
        """Frame of *rows* rows that holds *single* columns and *blocks* of them.

        Raises:
            FrameError: a name is there twice.
        """
        return cls(rows, BlockColumns(single, blocks) if blocks else single)

    def check(self) -> None:
        """Raise FrameError unless every column has `rows` rows."""
        for name, column in self.columns.items():
            if column.rows != self.rows:
                raise FrameError(name, f"has {column.rows} rows where the frame has {self.rows}")

    def select(self, names: Iterable[str]) -> Frame:
        """The named columns, in the given order.

        Raises:
            FrameError: a name is not a column of this frame.
        """
        return Frame(self.rows, {name: self.column(name) for name in names})

    def column(self, name: str) -> Column:
        """The named column.

        Raises:
            FrameError: there is none of that name.
        """
        try:
            return self.columns[name]
        except KeyError:
            raise FrameError(name, f"is missing; there are {', '.join(sorted(self.columns)) or 'none'}") from None

    def with_columns(self, columns: Mapping[str, Column]) -> Frame:
        """This frame and *columns*, which replace those of the same name.

        Raises:
            FrameError: a column has another number of rows.
        """
        frame = Frame(self.rows, {**self.columns, **columns})
        frame.check()
        return frame

    def take(self, rows: npt.NDArray[np.intp] | Sequence[int] | slice) -> Frame:
        """The given rows in the given order; a slice shares memory."""
        columns = self.columns
        if isinstance(columns, BlockColumns | RowColumns):
            return Frame(_taken_rows(self.rows, rows), columns.take(rows))
        taken = {name: column.take(rows) for name, column in columns.items()}
        return Frame(_taken_rows(self.rows, rows), taken)


def concat(frames: Sequence[Frame]) -> Frame:
    """The rows of all *frames*, one after the other, with the columns of the first.

    Raises:
        FrameError: there is no frame, or columns differ in name, type or row shape.
    """
    if not frames:
        raise FrameError("", "nothing to put together: give at least one frame")
    first = frames[0]
    if len(frames) == 1:
        return first
    if (kept := _kept_rows(frames)) is not None:
        return Frame(len(kept.rows), kept)
    for frame in frames[1:]:
        if frame.columns.keys() != first.columns.keys():
            odd = sorted(frame.columns.keys() ^ first.columns.keys())
            raise FrameError(odd[0], "is not in every frame that was to be put together")
    names: Iterable[str] = first.columns
    blocks: list[ColumnBlock] = []
    if alike([frame.columns for frame in frames]):
        parts = [frame.columns for frame in frames if isinstance(frame.columns, BlockColumns)]
        names, blocks = parts[0].single, [joined(each) for each in zip(*(part.blocks for part in parts), strict=True)]
    columns = {name: _joined(name, [frame.columns[name] for frame in frames]) for name in names}
    return Frame.of_blocks(sum(frame.rows for frame in frames), columns, blocks)


def beside(frames: Sequence[Frame]) -> Frame:
    """The columns of all *frames*, of the same rows, in one; their blocks stay whole.

    Raises:
        FrameError: there is no frame, or a name is there twice.
    """
    if len(frames) == 1:
        return frames[0]
    if not frames:
        raise FrameError("", "nothing to put together: give at least one frame")
    single: dict[str, Column] = {}
    blocks: list[ColumnBlock] = []
    names = 0
    for frame in frames:
        columns = frame.columns
        if isinstance(columns, BlockColumns):
            blocks += columns.blocks
            columns = columns.single
        single.update(columns)
        names += len(columns)
    if len(single) < names:
        given = [name for frame in frames for name in frame.columns]
        raise FrameError(next(name for name in given if given.count(name) > 1), "is there twice")
    return Frame.of_blocks(frames[0].rows, single, blocks)


def _joined(name: str, parts: list[Column]) -> Column:
    type, shape = parts[0].type, parts[0].values.shape[1:]
    for part in parts:
        if part.type is not type or part.values.shape[1:] != shape:
            raise FrameError(
                name, f"is {type.name}{list(shape)} in one frame and {part.type.name}{list(part.row_shape)} in another"
            )
    values = np.concatenate([part.values for part in parts])
    if all(part.valid is None for part in parts):
        return Column(type, values)
    return Column(type, values, np.concatenate([part.mask for part in parts]))


def _taken_rows(rows: int, taken: npt.NDArray[np.intp] | Sequence[int] | slice) -> int:
    if isinstance(taken, slice):
        return len(range(*taken.indices(rows)))
    if isinstance(taken, np.ndarray) and taken.dtype == np.bool_:
        return int(taken.sum())
    return len(taken)


def _kept_rows(frames: Sequence[Frame]) -> RowColumns | None:
    """The rows of all *frames* where every one of them keeps rows of the same fields."""
    rows: list[Sequence[Any]] = []
    fields: Sequence[Field] | None = None
    for frame in frames:
        columns = frame.columns
        if not isinstance(columns, RowColumns) or columns.fields is not (fields or columns.fields):
            return None
        fields = columns.fields
        rows += columns.rows
    return RowColumns(fields or (), rows)
