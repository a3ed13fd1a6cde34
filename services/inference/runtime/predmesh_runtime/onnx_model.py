"""ONNX graphs, run by ONNX Runtime on one thread."""

from __future__ import annotations

from collections.abc import Mapping

import onnxruntime as ort

from predmesh_runtime.errors import LoadError
from predmesh_runtime.model import Run, Source
from predmesh_runtime.specs import Array

ERRORS_ONLY = 3


def open_model(source: Source) -> Run:
    """The graph's outputs by their names in the graph."""
    options = ort.SessionOptions()
    # Two threads collapsed under contention (facts: triton); instances are the way to more cores.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    session = ort.InferenceSession(str(source.path), options, providers=_providers(source.gpu))
    _check(source, session)
    names = [spec.name for spec in source.outputs]
    texts = {spec.name for spec in source.inputs if spec.datatype == "BYTES"}

    def run(tensors: Mapping[str, Array]) -> Mapping[str, Array]:
        feed = {name: _text(array) if name in texts else array for name, array in tensors.items()}
        return dict(zip(names, session.run(names, feed), strict=True))

    return run


def _providers(gpu: bool) -> list[str]:
    wanted = ["CUDAExecutionProvider"] if gpu else []
    return [name for name in wanted if name in ort.get_available_providers()] + ["CPUExecutionProvider"]


def _check(source: Source, session: ort.InferenceSession) -> None:
    takes, gives = (
        [item.name for item in session.get_inputs()],
        {item.name: item.type for item in session.get_outputs()},
    )
    if set(takes) != {spec.name for spec in source.inputs}:
        raise LoadError(f"the graph takes {', '.join(takes)}: name these as inputs in predmesh.yaml")
    for spec in source.outputs:
        if spec.name not in gives:
            raise LoadError(f"the graph gives {', '.join(gives)}, and no {spec.name}: correct predmesh.yaml")
        if not gives[spec.name].startswith("tensor("):
            raise LoadError(f"{spec.name} is a {gives[spec.name]}, no tensor: export with zipmap=False")


def _text(array: Array) -> Array:
    decoded = array.copy()
    decoded.ravel()[:] = [item.decode() if isinstance(item, bytes) else item for item in array.ravel().tolist()]
    return decoded
