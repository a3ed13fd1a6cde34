"""Every rule of an input, over every way that rows come."""

import math
from typing import Any

import numpy as np
import predmesh_prediction.validation as validation
import pytest
from hypothesis import given
from hypothesis import strategies as st
from predmesh_bundle.schema import Bundle
from predmesh_frame import Column, DataType, Frame
from predmesh_prediction.structs import from_plain, to_plain
from predmesh_prediction.validation import Validator
from predmesh_rpc.errors import InvalidInput, Violation

from tests.unit.prediction.prediction_fakes import DIGITS, FLIGHT, FLIGHTS


def bundle(*inputs: dict[str, Any]) -> Bundle:
    rest = DIGITS.model_dump(mode="json", by_alias=True)
    return Bundle.model_validate(rest | {"name": "m", "inputs": [{"example": 1} | each for each in inputs]})


TYPES = bundle(
    {"name": "flag", "type": "bool", "required": False},
    {"name": "small", "type": "int32", "required": False, "minimum": -5, "maximum": 7},
    {"name": "large", "type": "int64", "required": False, "default": 3},
    {"name": "half", "type": "float", "required": False},
    {"name": "real", "type": "double", "required": False, "unit": "mi"},
    {"name": "text", "type": "string", "required": False, "personal": True, "categories": ["alpha", "beta"]},
    {"name": "blob", "type": "bytes", "required": False},
    {"name": "when", "type": "timestamp", "required": False},
)


def violations(validator: Validator, rows: list[Any]) -> list[Violation]:
    with pytest.raises(InvalidInput) as caught:
        validator.of_instances(rows)
    return list(caught.value.violations)


def of_struct(row: Any) -> Any:
    return to_plain(from_plain(row))


GOOD = [
    pytest.param("flag", True, True, id="boolean"),
    pytest.param("small", 7, 7, id="integer"),
    pytest.param("small", -5.0, -5, id="integer written as a float"),
    pytest.param("small", "6", 6, id="integer written as text"),
    pytest.param("large", 2**53 - 1, 2**53 - 1, id="largest exact number"),
    pytest.param("large", str(2**63 - 1), 2**63 - 1, id="64 bits as text"),
    pytest.param("half", 0.5, 0.5, id="float"),
    pytest.param("real", 3, 3.0, id="double written as an integer"),
    pytest.param("text", "alpha", "alpha", id="category"),
    pytest.param("blob", "aGk=", b"hi", id="base64"),
    pytest.param("blob", "-_8", b"\xfb\xff", id="base64 for URLs, without padding"),
    pytest.param("when", "1970-01-01T00:00:01Z", 1_000_000, id="time"),
    pytest.param("when", "1970-01-01t02:00:00.000001+02:00", 1, id="time with offset and microsecond"),
    pytest.param("when", "1969-12-31T23:59:59.999999999Z", -1, id="time before 1970, finer digits cut off"),
]


@pytest.mark.parametrize("way", [lambda row: row, of_struct], ids=["JSON", "Struct"])
@pytest.mark.parametrize(("name", "value", "read"), GOOD)
def test_a_good_value_is_read(name: str, value: Any, read: Any, way: Any) -> None:
    column = Validator(TYPES).of_instances([way({name: value})]).columns[name]
    assert (column.values[0], column.values.dtype) == (read, column.type.numpy)
    assert column.mask[0]


BAD = [
    pytest.param("flag", 1, "must be true or false, not a number (got 1)", "", id="number for a boolean"),
    pytest.param("flag", "TRUE", 'must be true or false, not a string (got "TRUE")', "true", id="text for a boolean"),
    pytest.param("small", True, "must be an integer, not a boolean (got true)", "", id="boolean for an integer"),
    pytest.param("small", 1.5, "must be a whole number (got 1.5)", "2", id="fraction"),
    pytest.param("small", 8, "must be at most 7 (got 8)", "7", id="above the range"),
    pytest.param("small", "-6", 'must be at least -5 (got "-6")', "-5", id="below the range, as text"),
    pytest.param("small", "x", 'must be an integer, not a string (got "x")', "", id="text for an integer"),
    pytest.param("large", 2**53, "is beyond 2^53", str(2**53), id="number that is not exact"),
    pytest.param("large", str(2**63), f'does not fit int64 (got "{2**63}")', str(2**63 - 1), id="64 bits overflow"),
    pytest.param("large", 1e30, "does not fit int64 (got 1e+30)", str(2**63 - 1), id="number far too large"),
    pytest.param("half", 1e39, "does not fit float (got 1e+39)", "", id="float overflow"),
    pytest.param("real", "12.5", 'must be a number, not a string (got "12.5")', "12.5", id="text for a number"),
    pytest.param("real", False, "must be a number, not a boolean (got false)", "", id="boolean for a number"),
    pytest.param("real", [1], "must be a number, not an array (got [1])", "", id="array for a number"),
    pytest.param("text", 7, "must be a string, not a number (got a number)", "", id="number for text"),
    pytest.param("text", "Alpha", 'must be one of "alpha", "beta" (got a string)', "alpha", id="unknown category"),
    pytest.param("text", "gamma", 'must be one of "alpha", "beta" (got a string)', "", id="category like none"),
    pytest.param("blob", "?", "must be base64 text", "", id="not base64"),
    pytest.param("when", "2013-06-01T10:30:00", "must be an RFC 3339 time with its offset", "", id="time without zone"),
    pytest.param("when", "2013-02-30T10:30:00Z", "must be an RFC 3339 time", "", id="no such day"),
    pytest.param("when", "2013-W01-1T00:00:00Z", "must be an RFC 3339 time", "", id="week date"),
    pytest.param("when", 7, "not a number (got 7)", "", id="number for a time"),
]


@pytest.mark.parametrize("way", [lambda row: row, of_struct], ids=["JSON", "Struct"])
@pytest.mark.parametrize(("name", "value", "text", "nearest"), BAD)
def test_a_bad_value_is_named_with_its_rule(name: str, value: Any, text: str, nearest: str, way: Any) -> None:
    (found,) = violations(Validator(TYPES), [way({name: value})])
    assert found.field == f"instances[0].{name}"
    assert text in found.reason_text
    assert found.nearest == nearest or not nearest


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["small", "half", "real"])
def test_a_struct_may_not_smuggle_in_what_is_not_finite(name: str, value: float) -> None:
    (found,) = violations(Validator(TYPES), [{name: value}])
    assert "finite" in found.reason_text and found.field == f"instances[0].{name}"


def test_a_unit_is_shown_beside_a_wrong_number() -> None:
    (found,) = violations(Validator(FLIGHTS), [FLIGHT | {"distance_miles": -1}])
    assert found.reason_text == "must be at least 0 (got -1 mi)"


def test_personal_values_stay_out_of_messages() -> None:
    (found,) = violations(Validator(TYPES), [{"text": "Jane Doe"}])
    assert "Jane" not in found.description


def test_an_unknown_input_offers_the_nearest() -> None:
    (found,) = violations(Validator(FLIGHTS), [FLIGHT | {"tailNumber": 1}])
    assert (found.field, found.nearest) == ("instances[0].tailNumber", "tailnum")


@pytest.mark.parametrize("row", [{}, {"carrier": None}], ids=["left out", "null"])
def test_a_required_input_must_be_there(row: dict[str, Any]) -> None:
    given = {name: value for name, value in FLIGHT.items() if name != "carrier"} | row
    (found,) = violations(Validator(FLIGHTS), [FLIGHT, given])
    assert found == Violation("instances[1].carrier", "is required and missing")


def test_an_optional_input_may_be_left_out_or_null() -> None:
    column = Validator(TYPES).of_instances([{"real": 1.5}, {}, {"real": None}]).columns["real"]
    assert column.to_list() == [1.5, None, None]


def test_a_default_stands_in_for_what_is_left_out() -> None:
    column = Validator(TYPES).of_instances([{}, {"large": 9}]).columns["large"]
    assert (column.values.tolist(), column.valid) == ([3, 9], None)


def test_a_default_that_breaks_its_own_rule_refuses_the_bundle() -> None:
    with pytest.raises(ValueError, match="breaks its own rules"):
        Validator(bundle({"name": "a", "type": "int32", "required": False, "default": 9, "maximum": 3}))


def test_every_violation_of_every_row_is_found() -> None:
    rows = [FLIGHT | {"carrier": 1}, 7, FLIGHT | {"origin": "X", "extra": 1, "distance_miles": 1e6}]
    found = {each.field for each in violations(Validator(FLIGHTS), rows)}
    assert found == {
        "instances[1]",
        "instances[0].carrier",
        *(f"instances[2].{name}" for name in ("origin", "extra", "distance_miles")),
    }


def test_the_list_is_bounded_and_the_count_is_whole() -> None:
    with pytest.raises(InvalidInput) as caught:
        Validator(FLIGHTS).of_instances([FLIGHT | {"carrier": 1, "odd": 1}] * 5000)
    assert len(caught.value.violations) == 100
    assert caught.value.metadata["violations"] == "10000"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param([[1, 2], [3]], "must have shape [2, 2], not a ragged array", id="ragged"),
        pytest.param([[1, 2]], "must have shape [2, 2], not [1, 2]", id="too few"),
        pytest.param(5, "must have shape [2, 2], not a single value", id="scalar"),
        pytest.param([], "must have shape [2, 2], not [0]", id="empty"),
    ],
)
def test_an_array_of_another_shape_is_refused(value: Any, text: str) -> None:
    (found,) = violations(Validator(DIGITS), [{"image": value}])
    assert found == Violation("instances[0].image", text)


def test_a_wrong_element_of_an_array_has_its_own_path() -> None:
    found = violations(Validator(DIGITS), [{"image": [[1, 2], [3, 17]]}, {"image": [[1, None], [0, "a"]]}])
    assert [each.field for each in found] == [
        "instances[0].image[1][1]",
        "instances[1].image[0][1]",
        "instances[1].image[1][1]",
    ]


def test_an_array_is_read_in_its_shape() -> None:
    frame = Validator(DIGITS).of_instances([{"image": [[1, 2], [3, 4]]}] * 3)
    assert frame.columns["image"].values.shape == (3, 2, 2)


@pytest.mark.parametrize("rows", [[], [FLIGHT] * 10_001], ids=["none", "too many"])
def test_a_batch_has_one_to_ten_thousand_rows(rows: list[Any]) -> None:
    (found,) = violations(Validator(FLIGHTS), rows)
    assert found.field == "instances" and "10000" in found.reason_text


def column(type: DataType, *values: Any) -> Column:
    return Column.of(type, list(values))


GOOD_COLUMNS = {
    "carrier": column(DataType.STRING, "AA", "DL"),
    "origin": column(DataType.STRING, "EWR", "JFK"),
    "dest": column(DataType.STRING, "LAX", "SFO"),
    "scheduled_departure": column(DataType.TIMESTAMP, 1, 2),
    "distance_miles": column(DataType.DOUBLE, 1.0, 2.0),
}


def test_columns_are_read_in_the_order_of_the_bundle() -> None:
    frame = Validator(FLIGHTS).of_columns(Frame.of(dict(reversed(GOOD_COLUMNS.items()))))
    assert list(frame.columns) == [spec.name for spec in FLIGHTS.inputs]
    assert frame.columns["tailnum"].to_list() == [None, None]


def test_columns_are_widened_and_texts_read() -> None:
    given = GOOD_COLUMNS | {
        "distance_miles": column(DataType.FLOAT, 1.5, 2.5),
        "scheduled_departure": column(DataType.STRING, "1970-01-01T00:00:01Z", "1970-01-01T00:00:02Z"),
    }
    frame = Validator(FLIGHTS).of_columns(Frame.of(given))
    assert frame.columns["distance_miles"] == column(DataType.DOUBLE, 1.5, 2.5)
    assert frame.columns["scheduled_departure"] == column(DataType.TIMESTAMP, 1_000_000, 2_000_000)


BAD_COLUMNS = [
    pytest.param("carrier", column(DataType.STRING, "AA", "aa"), "[1]", 'must be one of "AA"', id="category"),
    pytest.param("carrier", column(DataType.STRING, None, "AA"), "[0]", "is required and missing", id="absent"),
    pytest.param("carrier", column(DataType.INT64, 1, 2), "", "must be of type string, not int64", id="type"),
    pytest.param("distance_miles", column(DataType.DOUBLE, 1, math.nan), "[1]", "finite", id="NaN"),
    pytest.param("distance_miles", column(DataType.DOUBLE, -1, 1), "[0]", "must be at least 0 (got -1 mi)", id="range"),
    pytest.param("scheduled_departure", column(DataType.STRING, "x", "y"), "[0]", "RFC 3339", id="time"),
    pytest.param("dest", Column(DataType.STRING, np.array([["a"], ["b"]], object)), "", "single value", id="shape"),
]


@pytest.mark.parametrize(("name", "given", "where", "text"), BAD_COLUMNS)
def test_a_bad_column_is_named_with_row_and_rule(name: str, given: Column, where: str, text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Validator(FLIGHTS).of_columns(Frame.of(GOOD_COLUMNS | {name: given}))
    found = caught.value.violations[0]
    assert found.field == f"columns.{name}{where}" and text in found.reason_text


def test_columns_unknown_and_missing_are_listed_together() -> None:
    given = {name: value for name, value in GOOD_COLUMNS.items() if name != "dest"}
    with pytest.raises(InvalidInput) as caught:
        Validator(FLIGHTS).of_columns(Frame.of(given | {"destination": GOOD_COLUMNS["dest"]}), "inputs")
    assert [each.field for each in caught.value.violations] == ["inputs.destination", "inputs.dest"]


WORDS = [("carrier", "ZZ"), ("distance_miles", -3.0), ("distance_miles", math.inf), ("origin", "ewr")]


@pytest.mark.parametrize(("name", "value"), WORDS)
def test_columns_and_objects_get_the_same_words(name: str, value: Any) -> None:
    (of_rows,) = violations(Validator(FLIGHTS), [FLIGHT | {name: value}])
    type = FLIGHTS.input(name).type
    given = {each: one.take([0]) for each, one in GOOD_COLUMNS.items()} | {name: column(type, value)}
    with pytest.raises(InvalidInput) as caught:
        Validator(FLIGHTS).of_columns(Frame.of(given))
    (of_columns,) = caught.value.violations
    assert (of_columns.reason_text, of_columns.nearest) == (of_rows.reason_text, of_rows.nearest)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**64), 2**64),
    st.integers(-10, 10),
    st.floats(),
    st.text(max_size=4),
    st.sampled_from(["alpha", "7", "-6", "aGk=", "1970-01-01T00:00:01Z", "2013-13-01T00:00:00Z"]),
    st.lists(st.integers(), max_size=2),
)
ROWS = st.dictionaries(st.sampled_from([*(spec.name for spec in TYPES.inputs), "odd"]), VALUES, max_size=4)


@given(st.lists(ROWS, min_size=1, max_size=3))
def test_few_rows_are_read_as_many_are(rows: list[dict[str, Any]]) -> None:
    def read() -> Any:
        try:
            return dict(Validator(TYPES).of_instances(rows).columns)
        except InvalidInput as error:
            return error.violations

    few = read()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "FEW", 0)
        assert few == read()
