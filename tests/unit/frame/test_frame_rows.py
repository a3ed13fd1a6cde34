"""Frames that keep their rows: the same columns as frames of arrays, whatever is done with them."""

from typing import Any

import numpy as np
import pytest
from predmesh_frame import Column, DataType, Frame, concat
from predmesh_frame.rows import Field, RowColumns

FIELDS = [
    Field("carrier", DataType.STRING, ""),
    Field("distance", DataType.DOUBLE, 0.0),
    Field("seats", DataType.INT64, 180, defaulted=True),
]
ROWS: list[list[Any]] = [["UA", 719.0, 150], ["AA", None, None], [None, 2475.0, 200]]


def kept(rows: list[list[Any]], fields: list[Field] = FIELDS) -> Frame:
    return Frame(len(rows), RowColumns(fields, rows))


def of_arrays(rows: list[list[Any]]) -> Frame:
    carrier, distance, seats = zip(*rows, strict=True)
    return Frame.of(
        {
            "carrier": Column.of(DataType.STRING, carrier),
            "distance": Column.of(DataType.DOUBLE, distance),
            "seats": Column.of(DataType.INT64, [180 if each is None else each for each in seats]),
        }
    )


def test_columns_have_values_absences_and_defaults() -> None:
    frame = kept(ROWS)
    assert dict(frame.columns) == dict(of_arrays(ROWS).columns)
    assert frame.columns["seats"].valid is None
    assert frame.columns["distance"].values.dtype == np.float64


def test_the_mapping_names_its_columns_in_order() -> None:
    columns = kept(ROWS).columns
    assert (list(columns), len(columns), "seats" in columns, "odd" in columns) == (
        ["carrier", "distance", "seats"],
        3,
        True,
        False,
    )
    with pytest.raises(KeyError):
        columns["odd"]


def test_no_rows_are_columns_without_rows() -> None:
    assert [column.rows for column in kept([]).columns.values()] == [0, 0, 0]


@pytest.mark.parametrize(
    "rows",
    [slice(1, 3), [2, 0], np.array([2, 0]), np.array([True, False, True])],
    ids=["slice", "list", "ints", "mask"],
)
def test_rows_are_taken(rows: Any) -> None:
    taken = kept(ROWS).take(rows)
    assert isinstance(taken.columns, RowColumns)
    assert (taken.rows, dict(taken.columns)) == (2, dict(of_arrays(ROWS).take(rows).columns))


def test_rows_of_the_same_fields_stay_rows_when_put_together() -> None:
    together = concat([kept(ROWS[:1]), kept(ROWS[1:])])
    assert isinstance(together.columns, RowColumns)
    assert (together.rows, dict(together.columns)) == (3, dict(of_arrays(ROWS).columns))


@pytest.mark.parametrize("other", [of_arrays(ROWS), kept(ROWS, list(FIELDS))], ids=["arrays", "other fields"])
def test_others_are_put_together_column_by_column(other: Frame) -> None:
    together = concat([kept(ROWS), other, kept(ROWS)])
    assert (together.rows, dict(together.columns)) == (9, dict(of_arrays(ROWS * 3).columns))
