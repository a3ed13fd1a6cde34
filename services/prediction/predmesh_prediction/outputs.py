"""From the model's tensors to the outputs that a bundle declares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from predmesh_bundle.schema import Output
from predmesh_frame import Column, DataType, Frame
from predmesh_frame.columns import Array, object_array
from predmesh_rpc.errors import FailedPrecondition

from predmesh_prediction.domain import Tensors


def outputs_of(specs: Sequence[Output], tensors: Tensors, rows: int, bundle_id: str) -> Frame:
    """One column an output.

    Raises:
        FailedPrecondition: a tensor is missing, or not of the shape or type that its output needs.
    """
    columns: dict[str, Column] = {}
    for spec in specs:
        tensor = tensors.get(spec.tensor)
        if tensor is None or tensor.shape[:1] != (rows,):
            shape = "nothing" if tensor is None else f"shape {list(tensor.shape)}"
            raise _failed(spec, bundle_id, f"the model gave {shape} for tensor {spec.tensor!r} and {rows} rows")
        try:
            columns[spec.name] = Column(spec.type, _values(spec, tensor))
        except (IndexError, ValueError, TypeError, UnicodeDecodeError) as error:
            raise _failed(spec, bundle_id, f"tensor {spec.tensor!r} of shape {list(tensor.shape)}: {error}") from None
    return Frame(rows, columns)


def _values(spec: Output, tensor: Array) -> Array:
    values = tensor if spec.index is None else tensor[..., spec.index] if tensor.ndim > 1 else _only(tensor, spec.index)
    if spec.labels:
        return _labelled(values, spec.labels)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if spec.type is DataType.STRING:
        return _texts(values)
    if spec.type is DataType.BYTES:
        return values
    return values.astype(spec.type.numpy, copy=False)


def _only(tensor: Array, index: int) -> Array:
    if index:
        raise IndexError(f"has no position {index}")
    return tensor


def _labelled(values: Array, labels: tuple[str, ...]) -> Array:
    """The label of the largest score of each row, or of each row's class index."""
    flat = values.reshape(len(values), -1)
    chosen = flat.argmax(axis=1) if flat.shape[1] > 1 else flat[:, 0].astype(np.intp)
    if chosen.min(initial=0) < 0:
        raise IndexError(f"class {chosen.min()} has no label")
    return object_array([labels[index] for index in chosen.tolist()], (len(values),))


def _texts(values: Array) -> Array:
    texts = [value.decode() if isinstance(value, bytes) else str(value) for value in values.ravel().tolist()]
    return object_array(texts, values.shape)


def _failed(spec: Output, bundle_id: str, why: str) -> FailedPrecondition:
    return FailedPrecondition(
        "ERROR_REASON_MODEL_FAILED", f"output {spec.name!r}: {why}", bundleId=bundle_id, stage="inference"
    )
