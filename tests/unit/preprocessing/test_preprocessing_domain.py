"""What preprocessing promises, without a graph or a plug-in."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from predmesh_bundle.read_plan import FeaturePlan, FeatureType, ReadPlan, ViewPlan
from predmesh_bundle.schema import Bundle, TensorSpec
from predmesh_bundle.store import StoredBundle
from predmesh_frame import Column, DataType, Frame
from predmesh_preprocessing.columns import array_of, unfit
from predmesh_preprocessing.domain import ColumnSpec, Unusable, columns_of, complete, conform, example
from predmesh_rpc.errors import InvalidInput

COLUMNS = (
    ColumnSpec(name="a", type=DataType.DOUBLE, example=1.0),
    ColumnSpec(name="b", type=DataType.STRING, may_be_missing=True),
)


def stored(folder: Path) -> StoredBundle:
    features = (
        FeaturePlan(name="seats", type=FeatureType.INT64, default=3),
        FeaturePlan(name="engine", type=FeatureType.STRING),
    )
    plan = ReadPlan(
        project="p",
        feature_service="s",
        entity_key_serialization_version=3,
        views=(ViewPlan(name="planes", alias="planes", join_keys=(), ttl_seconds=None, features=features),),
        on_demand=(),
        features=("engine", "seats"),
    )
    (folder / "compiled").mkdir()
    (folder / "compiled" / "read_plan.json").write_text(plan.to_json())
    document = {
        "name": "m",
        "version": "1",
        "owner": "tests",
        "description": "Tests columns.",
        "inputs": [
            {"name": "when", "type": "timestamp", "example": "1970-01-01T00:00:01Z"},
            {"name": "raw", "type": "bytes", "example": "AAE=", "required": False},
            {"name": "grid", "type": "int64", "shape": [2], "example": [1, 2], "required": False, "default": [0, 0]},
        ],
        "inference": {
            "framework": "onnx",
            "file": "m.onnx",
            "inputs": [{"name": "x", "datatype": "FP32"}],
            "outputs": [{"name": "y", "datatype": "FP32"}],
        },
        "outputs": [{"name": "y", "type": "double", "tensor": "y"}],
    }
    return StoredBundle("m-1-0", folder, Bundle.model_validate(document), datetime(2026, 1, 1, tzinfo=UTC), "m-1-0")


def test_columns_are_the_inputs_and_then_the_features_in_order(tmp_path: Path):
    found = {spec.name: spec for spec in columns_of(stored(tmp_path))}
    assert list(found) == ["when", "raw", "grid", "engine", "seats"]
    assert (found["seats"].type, found["engine"].type) == (DataType.INT64, DataType.STRING)


def test_what_has_a_default_is_never_missing(tmp_path: Path):
    missing = {spec.name for spec in columns_of(stored(tmp_path)) if spec.may_be_missing}
    assert missing == {"raw", "engine"}


def test_an_example_is_one_row_of_the_written_values(tmp_path: Path):
    row = example(columns_of(stored(tmp_path)))
    values = {name: column.to_list() for name, column in row.columns.items()}
    assert values == {"when": [1_000_000], "raw": [b"\0\1"], "grid": [[1, 2]], "engine": [None], "seats": [3]}


def test_a_column_that_may_be_missing_need_not_come():
    whole = complete(Frame(2, {"a": Column.of(DataType.DOUBLE, [1.0, 2.0])}), COLUMNS)
    assert whole.columns["b"].to_list() == [None, None]


def test_columns_that_nobody_declared_are_left_out():
    more = {"a": Column.of(DataType.DOUBLE, [1.0]), "z": Column.of(DataType.DOUBLE, [1.0])}
    assert set(complete(Frame(1, more), COLUMNS).columns) == {"a", "b"}


def test_every_violation_is_told_at_once():
    wrong = Frame(0, {"b": Column.of(DataType.DOUBLE, [])})
    with pytest.raises(InvalidInput) as caught:
        complete(wrong, COLUMNS)
    assert [violation.field for violation in caught.value.violations] == ["a", "b", "frame.rows"]


@pytest.mark.parametrize(
    ("type", "dtype", "missing", "fits"),
    [
        pytest.param(DataType.DOUBLE, np.float32, True, True, id="float may be narrowed"),
        pytest.param(DataType.INT64, np.float32, True, True, id="integer with gaps as float"),
        pytest.param(DataType.INT64, np.int64, False, True, id="integer"),
        pytest.param(DataType.INT64, np.int64, True, False, id="integer with gaps"),
        pytest.param(DataType.INT64, np.int32, False, False, id="integer never narrowed"),
        pytest.param(DataType.DOUBLE, np.int64, False, False, id="float never cut"),
        pytest.param(DataType.BOOL, np.float32, False, True, id="truth as number"),
        pytest.param(DataType.TIMESTAMP, np.int64, False, True, id="time as microseconds"),
        pytest.param(DataType.STRING, object, True, True, id="text with gaps"),
        pytest.param(DataType.STRING, np.float32, False, False, id="text as number"),
        pytest.param(DataType.INT64, object, False, False, id="number as text"),
    ],
)
def test_a_column_fits_where_nothing_is_lost(type: DataType, dtype: type, missing: bool, fits: bool):
    spec = ColumnSpec(name="a", type=type, may_be_missing=missing)
    assert (unfit(spec, np.dtype(dtype)) is None) == fits


def test_missing_numbers_become_nan_and_missing_text_empty():
    numbers = array_of("a", Column.of(DataType.INT64, [1, None]), np.dtype(np.float32))
    np.testing.assert_array_equal(numbers, np.array([1, np.nan], np.float32))
    assert array_of("b", Column.of(DataType.STRING, ["x", None]), np.dtype(object)).tolist() == ["x", ""]


def test_the_callers_column_is_not_written_into():
    column = Column(DataType.DOUBLE, np.array([1.0, 2.0]), np.array([True, False]))
    array_of("a", column, np.dtype(np.float64))
    assert column.values.tolist() == [1.0, 2.0]


def test_an_integer_that_is_missing_after_all_is_refused_by_name():
    with pytest.raises(InvalidInput) as caught:
        array_of("a", Column.of(DataType.INT64, [1, None]), np.dtype(np.int64))
    assert [violation.field for violation in caught.value.violations] == ["a"]


def spec(**more: object) -> TensorSpec:
    return TensorSpec.model_validate({"name": "x", "datatype": "FP32", "shape": [2]} | more)


def test_tensors_are_cast_to_the_models_type():
    (x,) = conform({"x": np.ones((3, 2))}, [spec()], rows=3).values()
    assert (x.dtype, x.shape) == (np.dtype(np.float32), (3, 2))


def test_any_length_is_any_length():
    assert conform({"x": np.ones((1, 9), np.float32)}, [spec(shape=[-1])], rows=1)["x"].shape == (1, 9)


@pytest.mark.parametrize(
    "tensors",
    [
        pytest.param({}, id="absent"),
        pytest.param({"x": [[1.0, 2.0]]}, id="list"),
        pytest.param({"x": np.ones((2, 2), np.float32)}, id="rows"),
        pytest.param({"x": np.ones((1, 3), np.float32)}, id="width"),
        pytest.param({"x": np.array([["a", "b"]], object)}, id="text"),
        pytest.param({"x": np.ones((1, 2), np.complex64)}, id="complex"),
    ],
)
def test_tensors_of_another_kind_are_not_the_models(tensors: dict[str, Any]):
    with pytest.raises(Unusable, match="'x'"):
        conform(tensors, [spec()], rows=1)
