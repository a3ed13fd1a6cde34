"""From the model's tensors to outputs, and from outputs to JSON values."""

from typing import Any

import numpy as np
import pytest
from google.protobuf import duration_pb2
from predmesh_bundle.schema import Output, TensorSpec
from predmesh_frame import Column, DataType, Frame
from predmesh_prediction.answer_json import duration_text
from predmesh_prediction.json_values import json_values
from predmesh_prediction.outputs import outputs_of
from predmesh_prediction.tensors import tensors_of
from predmesh_rpc.errors import FailedPrecondition


def output(tensor: Any, **spec: Any) -> Column:
    given = Output.model_validate({"name": "y", "type": "double", "tensor": "t"} | spec)
    return outputs_of([given], {"t": np.array(tensor)}, len(tensor), "m-1-0").columns["y"]


CASES = [
    pytest.param([[0.1, 0.9]], {"index": 1}, [0.9], id="a column"),
    pytest.param([0.1, 0.2], {}, [0.1, 0.2], id="a flat tensor"),
    pytest.param([0.1, 0.2], {"index": 0}, [0.1, 0.2], id="position 0 of a flat tensor"),
    pytest.param([[0.1], [0.2]], {}, [0.1, 0.2], id="one value a row"),
    pytest.param([[1, 2], [3, 4]], {"type": "int64"}, [[1, 2], [3, 4]], id="the whole row"),
    pytest.param(
        [[0.1, 0.9], [0.8, 0.2]], {"type": "string", "labels": ["no", "yes"]}, ["yes", "no"], id="largest score"
    ),
    pytest.param([[1], [0]], {"type": "string", "labels": ["no", "yes"]}, ["yes", "no"], id="class number"),
    pytest.param([1, 0], {"type": "string", "labels": ["no", "yes"]}, ["yes", "no"], id="flat class number"),
    pytest.param([0, 1], {"type": "bool"}, [False, True], id="boolean"),
]


@pytest.mark.parametrize(("tensor", "spec", "values"), CASES)
def test_an_output_is_read_from_its_tensor(tensor: Any, spec: dict[str, Any], values: list[Any]) -> None:
    assert output(tensor, **spec).values.tolist() == values


def test_text_comes_from_bytes() -> None:
    column = output(np.array([b"a", "\u00e9".encode()], object), type="string")
    assert column.values.tolist() == ["a", "\u00e9"]


BROKEN = [
    pytest.param([[0.1]], {"index": 3}, id="no such position"),
    pytest.param([5], {"type": "string", "labels": ["a"]}, id="class without a label"),
    pytest.param([-1], {"type": "string", "labels": ["a"]}, id="negative class"),
    pytest.param(np.array([b"\xff"], object), {"type": "string"}, id="no text"),
]


@pytest.mark.parametrize(("tensor", "spec"), BROKEN)
def test_a_tensor_that_does_not_fit_is_the_models_failure(tensor: Any, spec: dict[str, Any]) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        output(tensor, **spec)
    assert caught.value.metadata["bundleId"] == "m-1-0"


def test_another_number_of_rows_is_the_models_failure() -> None:
    spec = Output.model_validate({"name": "y", "type": "double", "tensor": "t"})
    for tensors in ({}, {"t": np.zeros(3)}):
        with pytest.raises(FailedPrecondition):
            outputs_of([spec], tensors, 2, "m-1-0")


VALUES = [
    pytest.param(DataType.DOUBLE, [1.5, np.nan, -np.inf], [1.5, None, None], id="not finite"),
    pytest.param(DataType.INT64, [2**53, -(2**63), 7], [str(2**53), str(-(2**63)), 7], id="beyond 2^53"),
    pytest.param(
        DataType.TIMESTAMP,
        [0, 1_500_000, -1],
        ["1970-01-01T00:00:00Z", "1970-01-01T00:00:01.500Z", "1969-12-31T23:59:59.999999Z"],
        id="times",
    ),
    pytest.param(DataType.BYTES, [b"hi"], ["aGk="], id="bytes"),
    pytest.param(DataType.BOOL, [True], [True], id="booleans"),
]


@pytest.mark.parametrize(("type", "values", "written"), VALUES)
def test_values_are_written_as_json_can_hold_them(type: DataType, values: list[Any], written: list[Any]) -> None:
    assert json_values(Column.of(type, values)) == written


@pytest.mark.parametrize("microseconds", [0, 1, 1200, 5000, 3_000_000, 61_000_001])
def test_durations_are_written_as_proto3_json_does(microseconds: int) -> None:
    duration = duration_pb2.Duration()
    duration.FromMicroseconds(microseconds)
    assert duration_text(microseconds) == duration.ToJsonString()


def test_tensors_are_columns_side_by_side_with_nan_for_what_is_absent() -> None:
    spec = TensorSpec(name="x", datatype="FP32", shape=(2,), feature_names=("a", "b"))
    frame = Frame.of({"b": Column.of(DataType.INT64, [1, 2]), "a": Column.of(DataType.DOUBLE, [0.5, None])})
    (tensor,) = tensors_of([spec], frame.columns).values()
    assert tensor.dtype == np.float32
    np.testing.assert_array_equal(tensor, np.array([[0.5, 1], [np.nan, 2]], np.float32))


def test_several_tensors_are_the_columns_of_their_names() -> None:
    specs = [TensorSpec(name="a", datatype="FP64", shape=(1,)), TensorSpec(name="t", datatype="BYTES")]
    frame = Frame.of({"a": Column.of(DataType.DOUBLE, [0.5]), "t": Column.of(DataType.STRING, ["x"])})
    tensors = tensors_of(specs, frame.columns)
    assert (tensors["a"].shape, tensors["t"].tolist()) == ((1, 1), ["x"])
