"""Blocks of columns: one by one where somebody asks, whole everywhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from predmesh.type.v1 import frame_pb2
from predmesh_frame.blocks import BlockColumns, ColumnBlock
from predmesh_frame.columns import Column, DataType, FrameError
from predmesh_frame.frames import Frame, concat
from predmesh_frame.wire import frame_from_proto, frame_to_proto


def frame(*rows: float, absent: int | None = None) -> Frame:
    values = np.array([rows, [row * 10 for row in rows]])
    valid = np.ones(values.shape, dtype=np.bool_)
    if absent is not None:
        valid[1, absent] = False
    block = ColumnBlock(("x", "y"), DataType.DOUBLE, values, None if absent is None else valid)
    numbers = ColumnBlock(("n",), DataType.INT64, np.arange(len(rows))[np.newaxis])
    return Frame.of_blocks(
        len(rows), {"text": Column.of(DataType.STRING, [str(row) for row in rows])}, [block, numbers]
    )


def listed(frame: Frame) -> dict[str, list[Any]]:
    return {name: column.to_list() for name, column in frame.columns.items()}


def test_columns_are_found_by_name_in_order() -> None:
    made = frame(1, 2, absent=1)
    made.check()
    assert listed(made) == {"text": ["1", "2"], "x": [1, 2], "y": [10, None], "n": [0, 1]}
    assert made.columns["x"] is made.columns["x"]
    assert made.columns["x"].valid is None
    assert ("y" in made.columns, "z" in made.columns, len(made.columns)) == (True, False, 4)
    with pytest.raises(FrameError, match="there are n, text, x, y"):
        made.column("z")


def test_a_name_that_is_there_twice_is_refused() -> None:
    block = ColumnBlock(("x", "text"), DataType.DOUBLE, np.zeros((2, 1)))
    with pytest.raises(FrameError, match="'text': is there twice"):
        Frame.of_blocks(1, {"text": Column.of(DataType.STRING, [""])}, [block])


def test_rows_are_taken_from_blocks() -> None:
    taken = frame(1, 2, 3, absent=2).take([2, 0])
    assert listed(taken) == {"text": ["3", "1"], "x": [3, 1], "y": [None, 10], "n": [2, 0]}
    assert isinstance(taken.columns, BlockColumns)


@pytest.mark.parametrize("absent", [None, 0])
def test_frames_of_the_same_blocks_are_put_together_block_by_block(absent: int | None) -> None:
    whole = concat([frame(1), frame(2, 3, absent=absent)])
    assert isinstance(whole.columns, BlockColumns)
    assert [block.names for block in whole.columns.blocks] == [("x", "y"), ("n",)]
    assert listed(whole)["y"] == [10, 20 if absent is None else None, 30]
    assert listed(whole)["text"] == ["1", "2", "3"]


def test_frames_of_other_blocks_are_put_together_column_by_column() -> None:
    plain = Frame(1, {name: column.take(slice(0, 1)) for name, column in frame(5).columns.items()})
    assert listed(concat([frame(1), plain]))["y"] == [10, 50]


@pytest.mark.parametrize("absent", [None, 1])
def test_blocks_travel_whole(absent: int | None) -> None:
    message = frame_to_proto(frame(1, 2, absent=absent))
    assert [list(block.names) for block in message.blocks] == [["x", "y"], ["n"]]
    assert [column.name for column in message.columns] == ["text"]
    assert bool(message.blocks[0].validity) == (absent is not None)
    assert listed(frame_from_proto(message)) == listed(frame(1, 2, absent=absent))


def test_a_person_reads_columns() -> None:
    message = frame_to_proto(frame(1, 2), readable=True)
    assert [column.name for column in message.columns] == ["text", "x", "y", "n"]
    assert not message.blocks


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"names": ["a"], "type": 5, "packed": b"1234567"}, "block that holds 7 packed bytes"),
        ({"names": ["a"], "type": 5, "packed": b"12345678", "validity": b"11"}, "block that holds 2 validity bytes"),
        ({"names": ["a"], "type": 6, "packed": b""}, "no packed type"),
        ({"names": ["a"], "packed": b""}, "no packed type"),
        ({"names": [], "type": 5}, "no columns"),
        ({"names": ["a", ""], "type": 5, "packed": b"1" * 16}, "without a name"),
        ({"names": ["a", "a"], "type": 5, "packed": b"1" * 16}, "'a': is there twice"),
    ],
)
def test_a_block_that_cannot_be_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(FrameError, match=words):
        frame_from_proto(frame_pb2.Frame(rows=1, blocks=[frame_pb2.ColumnBlock(**fields)]))
