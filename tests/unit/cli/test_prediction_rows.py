"""Rows from words and files."""

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from predmesh_cli.errors import CliError, ExitCode
from predmesh_cli.rows import row_from_words, rows_from_file, value

INPUTS: list[dict[str, Any]] = [
    {"name": "carrier", "type": "DATA_TYPE_STRING"},
    {"name": "distance_miles", "type": "DATA_TYPE_DOUBLE"},
    {"name": "stops", "type": "DATA_TYPE_INT64"},
    {"name": "pixels", "type": "DATA_TYPE_FLOAT", "rowShape": ["2"]},
]


def test_words_take_the_types_of_the_schema() -> None:
    row = row_from_words(["carrier=007", "distance_miles=719", "stops=2", "pixels=[0.5, 1]"], INPUTS)
    assert row == {"carrier": "007", "distance_miles": 719.0, "stops": 2, "pixels": [0.5, 1]}


def test_a_value_may_hold_an_equals_sign() -> None:
    assert row_from_words(["carrier=a=b"], INPUTS) == {"carrier": "a=b"}


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("true", "BOOL", True),
        ("0", "BOOL", False),
        ("perhaps", "BOOL", "perhaps"),
        ("12.5", "INT32", "12.5"),
        ("far", "DOUBLE", "far"),
        ("2013-12-31T18:30:00-05:00", "TIMESTAMP", "2013-12-31T18:30:00-05:00"),
        ("12", "STRING", "12"),
    ],
)
def test_what_is_not_of_its_type_goes_through_for_the_mesh_to_refuse(text: str, kind: str, expected: Any) -> None:
    assert value(text, f"DATA_TYPE_{kind}", shaped=False) == expected


def test_nan_is_a_number() -> None:
    assert math.isnan(value("nan", "DATA_TYPE_DOUBLE", shaped=False))


@pytest.mark.parametrize(
    ("word", "hint"), [("carier=UA", "carrier"), ("x=1", "distance_miles"), ("carrier", "carrier=value")]
)
def test_a_wrong_word_names_what_would_be_right(word: str, hint: str) -> None:
    with pytest.raises(CliError) as raised:
        row_from_words([word], INPUTS)
    assert hint in raised.value.hint
    assert raised.value.code is ExitCode.USAGE


@pytest.mark.parametrize(
    "text",
    ['{"instances": [{"a": 1}, {"a": 2}]}', '[{"a": 1}, {"a": 2}]', '{"a": 1}\n{"a": 2}\n'],
    ids=["document", "list", "lines"],
)
def test_a_file_holds_rows_in_three_forms(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    assert rows_from_file(str(path)) == [{"a": 1}, {"a": 2}]


def test_one_row_may_stand_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({"a": 1})))
    assert rows_from_file("-") == [{"a": 1}]


@pytest.mark.parametrize("text", ["not json", '{"a": 1}\nnot json'])
def test_what_is_not_json_is_refused_with_its_place(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    with pytest.raises(CliError, match=r"rows\.json is not JSON"):
        rows_from_file(str(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="nowhere"):
        rows_from_file(str(tmp_path / "nowhere.json"))
