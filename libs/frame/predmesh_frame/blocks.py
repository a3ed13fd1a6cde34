"""Many scalar columns of one type as one array, made into single columns only where somebody asks for one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predmesh_frame.columns import Array, Column, DataType, FrameError, Mask

Rows = npt.NDArray[np.intp] | Sequence[int] | slice
"""Which rows, in which order."""


@dataclass(frozen=True, slots=True, eq=False)
class ColumnBlock:
    """Columns of one type, each of one value a row; the arrays are shared and never written into.

    Attributes:
        names: of the columns.
        type: of every value; not text or bytes.
        values: (columns, rows) of ``type.numpy``; what stands where a value is absent means nothing.
        valid: (columns, rows) true where the value is present; None when every one is.
    """

    names: tuple[str, ...]
    type: DataType
    values: Array
    valid: Mask | None = None

    @property
    def mask(self) -> Mask:
        """(columns, rows) true where the value is present, whether or not `valid` is kept."""
        return np.ones(self.values.shape, dtype=np.bool_) if self.valid is None else self.valid

    def column(self, index: int) -> Column:
        """The column at *index*."""
        valid = None if self.valid is None else self.valid[index]
        return Column(self.type, self.values[index], None if valid is None or valid.all() else valid)

    def take(self, rows: Rows) -> ColumnBlock:
        """The given rows in the given order; a slice shares memory."""
        valid = None if self.valid is None else self.valid[:, rows]
        return ColumnBlock(self.names, self.type, self.values[:, rows], valid)


class BlockColumns(Mapping[str, Column]):
    """The columns of a frame by name: single ones, then those of its blocks, which are made when they are asked for.

    Attributes:
        single: columns that stand alone.
        blocks: the others.
    """

    __slots__ = ("_made", "_places", "blocks", "single")

    def __init__(self, single: Mapping[str, Column], blocks: Sequence[ColumnBlock]) -> None:
        """Hold *single* and *blocks*.

        Raises:
            FrameError: a name is there twice.
        """
        self.single = single
        self.blocks = tuple(blocks)
        self._made: dict[str, Column] = {}
        self._places: dict[str, tuple[ColumnBlock, int]] | None = None
        if len(set(single).union(*(block.names for block in self.blocks))) != len(self):
            names = list(self)
            raise FrameError(next(name for name in names if names.count(name) > 1), "is there twice")

    def __getitem__(self, name: str) -> Column:
        """The column of that name."""
        found = self.single.get(name) or self._made.get(name)
        if found is None:
            block, index = self._placed()[name]
            found = self._made[name] = block.column(index)
        return found

    def __contains__(self, name: object) -> bool:
        # The inherited one would make the column.
        return name in self.single or name in self._placed()

    def __iter__(self) -> Iterator[str]:
        yield from self.single
        for block in self.blocks:
            yield from block.names

    def __len__(self) -> int:
        return len(self.single) + sum(len(block.names) for block in self.blocks)

    def take(self, rows: Rows) -> BlockColumns:
        """The given rows of every column."""
        single = {name: column.take(rows) for name, column in self.single.items()}
        return BlockColumns(single, [block.take(rows) for block in self.blocks])

    def _placed(self) -> dict[str, tuple[ColumnBlock, int]]:
        if self._places is None:
            self._places = {name: (block, index) for block in self.blocks for index, name in enumerate(block.names)}
        return self._places


def alike(columns: Sequence[Mapping[str, Column]]) -> bool:
    """Whether all *columns* hold the same blocks, so that they can be put together block by block."""
    layouts = [
        (set(each.single), [(block.names, block.type) for block in each.blocks])
        for each in columns
        if isinstance(each, BlockColumns)
    ]
    return len(layouts) == len(columns) and all(layout == layouts[0] for layout in layouts)


def joined(blocks: Sequence[ColumnBlock]) -> ColumnBlock:
    """The rows of all *blocks*, of the same columns, one after the other."""
    first = blocks[0]
    values = np.concatenate([block.values for block in blocks], axis=1)
    if all(block.valid is None for block in blocks):
        return ColumnBlock(first.names, first.type, values)
    return ColumnBlock(first.names, first.type, values, np.concatenate([block.mask for block in blocks], axis=1))
