"""Triton's `config.pbtxt` of a model, as pure functions."""

from __future__ import annotations

from collections.abc import Iterable

from predmesh_bundle.schema import Inference, TensorSpec

from predmesh_inference.domain import Device, Model

_TYPES = {"BYTES": "STRING"}


def model_config(model: Model, backend: str) -> str:
    """The configuration of *model* under Triton's *backend*.

    There is no `dynamic_batching`: prediction gathers rows already, and Triton 2.51's batcher sleeps through a request
    that comes before the slot of the answered one is free. One caller in turn lost half a second once in 75 calls.
    """
    inference = model.inference
    lines = [
        f'name: "{model.name}"',
        f'backend: "{backend}"',
        f"max_batch_size: {inference.max_batch_rows if gathers(inference) else 0}",
        *_tensors("input", inference.inputs, whole=not gathers(inference)),
        *_tensors("output", inference.outputs, whole=not gathers(inference)),
        f"instance_group [{{ count: {inference.instances} kind: {_kind(model.device)} }}]",
        *_native(model, backend),
    ]
    return "\n".join(lines) + "\n"


def canary_config(name: str) -> str:
    """The configuration of the identity model."""
    return (
        f'name: "{name}"\nbackend: "python"\nmax_batch_size: 64\n'
        'input [{ name: "x" data_type: TYPE_FP32 dims: [3] }]\n'
        'output [{ name: "y" data_type: TYPE_FP32 dims: [3] }]\n'
        "instance_group [{ count: 1 kind: KIND_CPU }]\n"
    )


def gathers(inference: Inference) -> bool:
    """Whether Triton knows the first dimension as rows: it has no batches of plain numbers, rows without a shape."""
    return all(spec.shape for spec in (*inference.inputs, *inference.outputs))


def _tensors(side: str, specs: Iterable[TensorSpec], *, whole: bool) -> list[str]:
    return [f"{side} [{{ {_tensor(spec, whole)} }}]" for spec in specs]


def _tensor(spec: TensorSpec, whole: bool) -> str:
    dims = ", ".join(map(str, ((-1,) if whole else ()) + spec.shape))
    return f'name: "{spec.name}" data_type: TYPE_{_TYPES.get(spec.datatype, spec.datatype)} dims: [{dims}]'


def _kind(device: Device) -> str:
    return "KIND_GPU" if device == "gpu" else "KIND_CPU"


def _native(model: Model, backend: str) -> list[str]:
    """What the server's own backends need to find and run the bundle's file."""
    if backend == "predmesh":
        return []
    found = f'default_model_filename: "bundle/{model.inference.file}"'
    if backend == "onnxruntime":
        threads = [_parameter(name, "1") for name in ("intra_op_thread_count", "inter_op_thread_count")]
        return [found, *threads]
    if backend == "fil":
        return [found, _parameter("model_type", _fil_type(model.inference)), _parameter("output_class", "false")]
    return [found]


def _fil_type(inference: Inference) -> str:
    if inference.framework == "lightgbm":
        return "lightgbm"
    return "xgboost_ubj" if inference.file.endswith(".ubj") else "xgboost_json"


def _parameter(key: str, value: str) -> str:
    return f'parameters [{{ key: "{key}" value: {{ string_value: "{value}" }} }}]'
