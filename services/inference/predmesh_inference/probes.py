"""Rows to ask a model with: the bundle's examples where these are its tensors, else made-up values of that kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from predmesh_bundle.rules import sources
from predmesh_bundle.schema import Bundle, Inference, TensorSpec
from predmesh_frame import DataType
from predmesh_frame.oip import dtype_of

from predmesh_inference.domain import Array, Tensors

Row = Mapping[str, Any]


def probes(bundle: Bundle) -> tuple[tuple[Tensors, ...], bool]:
    """One-row tensors to warm up and watch with, and whether they are true examples."""
    if bundle.preprocessing is not None or bundle.features is not None or _has_times(bundle):
        return (synthetic(bundle.inference),), False
    example = {given.name: given.example for given in bundle.inputs}
    rows = [example, *({**example, **row} for row in bundle.inference.warmup)]
    return tuple(_from_row(bundle.inference, row) for row in rows), True


def synthetic(inference: Inference) -> Tensors:
    """One row of ones, false and empty text in the shapes that the model takes; 1 where any length goes."""
    return {spec.name: _ones(spec) for spec in inference.inputs}


def _has_times(bundle: Bundle) -> bool:
    return any(given.type in (DataType.TIMESTAMP, DataType.BYTES) for given in bundle.inputs)


def _from_row(inference: Inference, row: Row) -> Tensors:
    return {
        spec.name: _tensor(spec, [row[name] for name in sources(inference.inputs, spec)]) for spec in inference.inputs
    }


def _tensor(spec: TensorSpec, values: list[Any]) -> Array:
    shape = (1, *spec.shape)
    if spec.datatype == "BYTES":
        flat = np.empty(len(values), dtype=object)
        flat[:] = [str(value).encode() for value in values]
        return flat.reshape(shape)
    return np.asarray(values, dtype=dtype_of(spec.datatype)).reshape(shape)


def _ones(spec: TensorSpec) -> Array:
    shape = (1, *(1 if size == -1 else size for size in spec.shape))
    if spec.datatype == "BYTES":
        return np.full(shape, b"", dtype=object)
    return np.ones(shape, dtype=dtype_of(spec.datatype))
