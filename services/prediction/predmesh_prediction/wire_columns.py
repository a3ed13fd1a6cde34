"""Columns as they came over the wire, read only where somebody looks: most go on to the next stage as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from predmesh.type.v1 import frame_pb2
from predmesh_frame import Column, Frame, FrameError
from predmesh_frame.wire import column_from_proto, column_to_proto

from predmesh_prediction.asking import unreadable


class WireColumns(Mapping[str, Column]):
    """The columns of *messages*, by name.

    Attributes:
        messages: by name, in the order in which they came.
    """

    def __init__(self, stage: str, messages: Sequence[frame_pb2.Column], rows: int) -> None:
        self.messages = {each.name: each for each in messages}
        self._stage = stage
        self._rows = rows
        self._read: dict[str, Column] = {}

    def __getitem__(self, name: str) -> Column:
        """The column of that name. Raises DependencyDown when it cannot be read."""
        if name not in self._read:
            try:
                self._read[name] = column_from_proto(self.messages[name], self._rows)
            except FrameError as error:
                raise unreadable(self._stage, error) from None
        return self._read[name]

    def __contains__(self, name: object) -> bool:
        # The inherited one would read the column.
        return name in self.messages

    def __iter__(self) -> Iterator[str]:
        return iter(self.messages)

    def __len__(self) -> int:
        return len(self.messages)


def joined_proto(frames: Sequence[Frame]) -> frame_pb2.Frame:
    """The message of all columns of *frames*, which have the same rows; of a name that is there twice, the last."""
    messages: dict[str, frame_pb2.Column] = {}
    for frame in frames:
        if isinstance(frame.columns, WireColumns):
            messages |= frame.columns.messages
        else:
            messages |= {name: column_to_proto(name, column) for name, column in frame.columns.items()}
    return frame_pb2.Frame(rows=frames[0].rows, columns=messages.values())
