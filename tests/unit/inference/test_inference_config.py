"""Triton's configuration, devices and probes: pure functions of the bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from predmesh_bundle.schema import Bundle
from predmesh_inference.devices import choose_backend, choose_device
from predmesh_inference.domain import Device, LoadFailed, Model
from predmesh_inference.planning import plan
from predmesh_inference.probes import probes
from predmesh_inference.triton_config import model_config

from tests.unit.inference.inference_fakes import bundle, stored

GOLDEN = """\
name: "doubling-0123456789abcdef"
backend: "predmesh"
max_batch_size: 256
input [{ name: "x" data_type: TYPE_FP32 dims: [1] }]
output [{ name: "y" data_type: TYPE_FP32 dims: [1] }]
instance_group [{ count: 2 kind: KIND_CPU }]
"""
WHOLE = """\
name: "doubling-0123456789abcdef"
backend: "predmesh"
max_batch_size: 0
input [{ name: "text" data_type: TYPE_STRING dims: [-1] }]
input [{ name: "many" data_type: TYPE_INT64 dims: [-1, -1, 3] }]
output [{ name: "y" data_type: TYPE_FP64 dims: [-1] }]
instance_group [{ count: 1 kind: KIND_CPU }]
"""
NATIVE = """\
name: "doubling-0123456789abcdef"
backend: "onnxruntime"
max_batch_size: 1024
input [{ name: "x" data_type: TYPE_FP32 dims: [1] }]
output [{ name: "y" data_type: TYPE_FP32 dims: [1] }]
instance_group [{ count: 1 kind: KIND_GPU }]
default_model_filename: "bundle/model.onnx"
parameters [{ key: "intra_op_thread_count" value: { string_value: "1" } }]
parameters [{ key: "inter_op_thread_count" value: { string_value: "1" } }]
"""


def model(device: Device = "cpu", **inference: Any) -> Model:
    return Model(
        "doubling-0123456789abcdef",
        "doubling-1-000000000000",
        Path("/b"),
        bundle(**inference).inference,
        device,
        (),
        exact=True,
    )


def test_the_configuration_of_a_bundle() -> None:
    assert model_config(model(instances=2, max_batch_rows=256), "predmesh") == GOLDEN


def test_rows_without_a_shape_are_not_gathered() -> None:
    tensors: dict[str, Any] = {
        "inputs": [{"name": "text", "datatype": "BYTES"}, {"name": "many", "datatype": "INT64", "shape": [-1, 3]}],
        "outputs": [{"name": "y", "datatype": "FP64"}],
    }
    assert model_config(model(**tensors), "predmesh") == WHOLE


def test_the_configuration_for_a_native_backend_on_a_gpu() -> None:
    assert model_config(model("gpu"), "onnxruntime") == NATIVE


@pytest.mark.parametrize(
    ("inference", "native", "backend"),
    [
        pytest.param({}, (), "predmesh", id="ours where there is no other"),
        pytest.param({}, ("onnxruntime", "fil"), "onnxruntime", id="onnx"),
        pytest.param({"framework": "xgboost", "file": "m.json"}, ("fil",), "predmesh", id="names that fil lacks"),
        pytest.param(
            {
                "framework": "xgboost",
                "file": "m.json",
                "inputs": [{"name": "input__0", "datatype": "FP32", "shape": (4,)}],
                "outputs": [{"name": "output__0", "datatype": "FP32", "shape": (1,)}],
            },
            ("fil",),
            "fil",
            id="names that fil has",
        ),
    ],
)
def test_the_backend_fits_the_bundle_and_the_server(inference: Any, native: Any, backend: str) -> None:
    assert choose_backend(bundle(**inference).inference, native) == backend


@pytest.mark.parametrize(
    ("framework", "wanted", "backend", "gpus", "device"),
    [
        ("pytorch", "auto", "predmesh", 1, "gpu"),
        ("pytorch", "auto", "predmesh", 0, "cpu"),
        ("pytorch", "cpu", "predmesh", 1, "cpu"),
        ("xgboost", "auto", "predmesh", 1, "cpu"),
        ("onnx", "auto", "onnxruntime", 1, "gpu"),
        ("onnx", "gpu", "predmesh", 1, LoadFailed),
        ("pytorch", "gpu", "predmesh", 0, LoadFailed),
    ],
)
def test_the_device_fits_the_bundle_and_the_machine(
    framework: str, wanted: str, backend: str, gpus: int, device: Any
) -> None:
    inference = bundle(framework=framework, device=wanted).inference
    if device is LoadFailed:
        with pytest.raises(LoadFailed, match="set `device: auto` or `cpu`"):
            choose_device(inference, backend, gpus)
    else:
        assert choose_device(inference, backend, gpus) == device


def test_a_bundle_without_preprocessing_is_asked_with_its_examples_and_warm_up_rows() -> None:
    made = plan(stored(warmup=[{"x": 7.0}]), native=(), gpus=0)
    assert [float(probe["x"][0, 0]) for probe in made.probes] == [3.0, 7.0]
    assert made.exact


def test_columns_side_by_side_are_one_tensor() -> None:
    both = [{"name": name, "type": "double", "example": value} for name, value in (("a", 1.5), ("b", 2.5))]
    tensor = {"name": "table", "datatype": "FP32", "shape": (2,), "feature_names": ("b", "a")}
    document = bundle(inputs=[tensor]).model_dump(mode="json") | {"inputs": both}
    (probe,), exact = probes(Bundle.model_validate(document))
    assert probe["table"].tolist() == [[2.5, 1.5]]
    assert exact


def test_a_bundle_with_preprocessing_is_asked_with_made_up_values_of_the_right_kind() -> None:
    tensors = [
        {"name": "image", "datatype": "UINT8", "shape": (-1, 8)},
        {"name": "words", "datatype": "BYTES", "shape": (2,)},
    ]
    document = bundle(inputs=tensors).model_dump(mode="json") | {"preprocessing": {"onnx": "prepare.onnx"}}
    (probe,), exact = probes(Bundle.model_validate(document))
    assert probe["image"].shape == (1, 1, 8)
    assert probe["image"].dtype == np.dtype("uint8")
    assert probe["words"].tolist() == [[b"", b""]]
    assert not exact
