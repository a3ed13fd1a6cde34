from datetime import UTC, datetime

import numpy as np
import pytest
from predmesh_frame import Column, DataType, Frame, FrameError, concat
from predmesh_frame.columns import microseconds, moment


def doubles(*values: float | None) -> Column:
    return Column.of(DataType.DOUBLE, values)


@pytest.mark.parametrize(
    ("type", "values"),
    [
        (DataType.BOOL, [True, None, False]),
        (DataType.INT32, [1, None, -3]),
        (DataType.INT64, [2**62, None, -1]),
        (DataType.FLOAT, [0.5, None, -2.0]),
        (DataType.DOUBLE, [0.1, None, 1e300]),
        (DataType.STRING, ["a", None, "é"]),
        (DataType.BYTES, [b"\x00", None, b""]),
        (DataType.TIMESTAMP, [1, None, -1]),
    ],
    ids=lambda value: value.name if isinstance(value, DataType) else "",
)
def test_a_column_gives_back_the_values_it_was_made_of(type: DataType, values: list[object]) -> None:
    column = Column.of(type, values)
    assert column.to_list() == values
    assert column.values.dtype == type.numpy


def test_without_absent_rows_there_is_no_mask() -> None:
    assert doubles(1.0, 2.0).valid is None
    assert doubles(1.0, 2.0).mask.tolist() == [True, True]


@pytest.mark.parametrize(
    ("type", "values"),
    [(DataType.STRING, [1]), (DataType.BYTES, ["x"]), (DataType.INT32, [2**40]), (DataType.DOUBLE, ["x"])],
)
def test_a_value_of_another_type_is_refused(type: DataType, values: list[object]) -> None:
    with pytest.raises(FrameError, match=type.name.lower()):
        Column.of(type, values)


def test_a_row_may_hold_a_shape_and_be_absent() -> None:
    column = Column.of(DataType.STRING, [["a", "b"], None], row_shape=(2,))
    assert column.values.shape == (2, 2)
    assert column.to_list() == [["a", "b"], None]


def test_timestamps_are_exact_microseconds() -> None:
    time = datetime(2013, 7, 4, 12, 30, 0, 123457, tzinfo=UTC)
    column = Column.of(DataType.TIMESTAMP, [time])
    assert column.to_list() == [microseconds(time)]
    assert moment(column.to_list()[0]) == time


def test_columns_are_equal_when_present_values_are() -> None:
    assert doubles(1.0, None) == Column(DataType.DOUBLE, np.array([1.0, 9.0]), np.array([True, False]))
    assert doubles(float("nan")) == doubles(float("nan"))
    assert doubles(1.0) != doubles(2.0)
    assert doubles(1.0) != Column.of(DataType.FLOAT, [1.0])


def test_rows_are_taken_in_the_order_asked() -> None:
    frame = Frame.of({"x": doubles(0.0, 1.0, None)})
    assert frame.take([2, 0]) == Frame.of({"x": doubles(None, 0.0)})
    assert frame.take(slice(1, None)).rows == 2
    assert frame.take(np.array([True, False, True])).rows == 2


def test_frames_are_put_together_in_order() -> None:
    frames = [Frame.of({"x": doubles(0.0), "s": Column.of(DataType.STRING, ["a"])})] * 2
    frames.append(Frame.of({"s": Column.of(DataType.STRING, [None]), "x": doubles(2.0)}))
    joined = concat(frames)
    assert joined.rows == 3
    assert joined.columns["x"].to_list() == [0.0, 0.0, 2.0]
    assert joined.columns["s"].to_list() == ["a", "a", None]


@pytest.mark.parametrize(
    "other",
    [{"y": doubles(1.0)}, {"x": Column.of(DataType.FLOAT, [1.0])}, {"x": Column.of(DataType.DOUBLE, [[1.0]], (1,))}],
    ids=["name", "type", "shape"],
)
def test_frames_that_differ_are_not_put_together(other: dict[str, Column]) -> None:
    with pytest.raises(FrameError):
        concat([Frame.of({"x": doubles(1.0)}), Frame.of(other)])


def test_columns_of_other_lengths_do_not_make_a_frame() -> None:
    with pytest.raises(FrameError, match="has 2 rows where the frame has 1"):
        Frame.of({"x": doubles(1.0), "y": doubles(1.0, 2.0)})
    with pytest.raises(FrameError, match="has 2 rows"):
        Frame.of({"x": doubles(1.0)}).with_columns({"y": doubles(1.0, 2.0)})


def test_a_missing_column_is_named_with_those_there_are() -> None:
    with pytest.raises(FrameError, match="'y': is missing; there are x"):
        Frame.of({"x": doubles(1.0)}).select(["y"])
