"""Columns as they came over the wire, read only where somebody looks: most go on to the next stage as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from predmesh.type.v1 import frame_pb2
from predmesh_frame import Column, Frame, FrameError
from predmesh_frame.blocks import BlockColumns
from predmesh_frame.wire import block_to_proto, column_to_proto, frame_from_proto

from predmesh_prediction.asking import unreadable


class WireColumns(Mapping[str, Column]):
    """The columns of a frame that *stage* answered with, by name.

    Attributes:
        message: the frame.
        names: of all its columns, in the order in which they came.
    """

    def __init__(self, stage: str, message: frame_pb2.Frame) -> None:
        self.message = message
        single = (column.name for column in message.columns)
        self.names = frozenset(chain(single, *(block.names for block in message.blocks)))
        self._stage = stage
        self._read: Mapping[str, Column] | None = None

    def __getitem__(self, name: str) -> Column:
        """The column of that name. Raises DependencyDown when the frame cannot be read."""
        return self.columns()[name]

    def __contains__(self, name: object) -> bool:
        # The inherited one would read the columns.
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns())

    def __len__(self) -> int:
        return len(self.names)

    def columns(self) -> Mapping[str, Column]:
        """The columns, read. Raises DependencyDown when the frame cannot be read."""
        if self._read is None:
            try:
                self._read = frame_from_proto(self.message).columns
            except FrameError as error:
                raise unreadable(self._stage, error) from None
        return self._read


def add_joined(message: frame_pb2.Frame, frames: Sequence[Frame]) -> None:
    """Fill *message* with all columns of *frames*, of the same rows; of a name that is there twice, the last."""
    message.rows = frames[0].rows
    taken: frozenset[str] = frozenset()
    for frame in reversed(frames):
        columns = frame.columns
        if isinstance(columns, WireColumns) and taken.isdisjoint(columns.names):
            message.MergeFrom(columns.message)
            taken |= columns.names
            continue
        if isinstance(columns, BlockColumns) and taken.isdisjoint(columns):
            message.blocks.extend([block_to_proto(block) for block in columns.blocks])
            columns = columns.single
        message.columns.extend([column_to_proto(name, column) for name, column in columns.items() if name not in taken])
        taken |= columns.keys()


def read_frame(frame: Frame) -> Frame:
    """*frame* with its columns read. Raises DependencyDown when they cannot be."""
    return Frame(frame.rows, frame.columns.columns()) if isinstance(frame.columns, WireColumns) else frame
