"""The model's own tensors as the columns of a frame, so that requests for the model alone share batches, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from predmesh_bundle.schema import TensorSpec
from predmesh_bundle.store import StoredBundle
from predmesh_frame import Column, DataType, Frame
from predmesh_frame.columns import Array
from predmesh_frame.oip import dtype_of

from predmesh_prediction.asking import model_failed
from predmesh_prediction.domain import Inference, Tensors

_CARRIERS: dict[str, DataType] = {
    "BOOL": DataType.BOOL,
    "INT8": DataType.INT32,
    "INT16": DataType.INT32,
    "INT32": DataType.INT32,
    "INT64": DataType.INT64,
    "UINT8": DataType.INT32,
    "UINT16": DataType.INT32,
    "UINT32": DataType.INT64,
    "UINT64": DataType.INT64,
    "FP16": DataType.FLOAT,
    "FP32": DataType.FLOAT,
    "FP64": DataType.DOUBLE,
    "BYTES": DataType.BYTES,
}
"""A type of columns that holds every value of a tensor; UINT64 by its bits."""


class RawModel:
    """The model of a bundle, without the rest of its graph."""

    def __init__(self, stored: StoredBundle, inference: Inference) -> None:
        self._stored = stored
        self._specs = stored.bundle.inference.inputs
        self._outputs = tuple(spec.name for spec in stored.bundle.inference.outputs)
        self._inference = inference

    @property
    def batches(self) -> bool:
        """Whether rows of several requests can travel together: not where they may differ in shape."""
        return all(-1 not in spec.shape for spec in self._specs)

    def frame(self, tensors: Mapping[str, Array], rows: int) -> Frame:
        """The checked *tensors* as columns."""
        return Frame(rows, {spec.name: _column(spec, tensors[spec.name]) for spec in self._specs})

    async def run(self, frame: Frame) -> Tensors:
        """The model's outputs for the rows of `frame`.

        Raises:
            FailedPrecondition: it gave another number of rows.
            PredmeshError: it failed, or is away.
        """
        tensors = {spec.name: _tensor(spec, frame.columns[spec.name]) for spec in self._specs}
        answers = await self._inference.infer(self._stored, tensors, self._outputs)
        for name, values in answers.items():
            if values.shape[:1] != (frame.rows,):
                text = f"the model gave shape {list(values.shape)} for tensor {name!r} and {frame.rows} rows"
                raise model_failed(self._stored.bundle_id, text)
        return answers


def joined(parts: Sequence[tuple[Tensors, int, int]]) -> Tensors:
    """The rows from one number to another of each of *parts*, one after the other."""
    cut = [{name: values[start:stop] for name, values in each.items()} for each, start, stop in parts]
    return cut[0] if len(cut) == 1 else {name: np.concatenate([each[name] for each in cut]) for name in cut[0]}


def _column(spec: TensorSpec, values: Array) -> Column:
    type = _CARRIERS[spec.datatype]
    return Column(type, values.view("<i8") if spec.datatype == "UINT64" else values.astype(type.numpy, copy=False))


def _tensor(spec: TensorSpec, column: Column) -> Array:
    values = column.values
    return values.view("<u8") if spec.datatype == "UINT64" else values.astype(dtype_of(spec.datatype), copy=False)
