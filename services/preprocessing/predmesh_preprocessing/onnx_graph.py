"""Preprocessing as an ONNX graph: its inputs are columns by name, its outputs the model's tensors by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from predmesh_bundle.nearest import hint
from predmesh_bundle.schema import TensorSpec
from predmesh_frame import Frame
from predmesh_frame.columns import Array

from predmesh_preprocessing.columns import array_of, shaped, unfit
from predmesh_preprocessing.domain import ColumnSpec, Tensors, Unusable

ERRORS_ONLY = 3
DTYPES: dict[str, np.dtype[Any]] = {
    "tensor(bool)": np.dtype(np.bool_),
    "tensor(int8)": np.dtype(np.int8),
    "tensor(int16)": np.dtype(np.int16),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(uint16)": np.dtype(np.uint16),
    "tensor(uint32)": np.dtype(np.uint32),
    "tensor(uint64)": np.dtype(np.uint64),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(float)": np.dtype(np.float32),
    "tensor(double)": np.dtype(np.float64),
    "tensor(string)": np.dtype(object),
}


@dataclass(frozen=True, slots=True)
class Feed:
    """How one graph input is fed from the column of its name."""

    name: str
    dtype: np.dtype[Any]
    row_shape: tuple[int, ...]


class OnnxGraph:
    """A graph, run by ONNX Runtime on the calling thread."""

    blocking = False

    def __init__(self, path: Path, columns: Sequence[ColumnSpec], tensors: Sequence[TensorSpec]) -> None:
        """Open the graph at *path*.

        Raises:
            Unusable: it cannot be opened, takes what is no column, or does not give the model's tensors.
        """
        self._session = _session(path)
        known = {spec.name: spec for spec in columns}
        given = {node.name for node in self._session.get_outputs()}
        problems = [problem for node in self._session.get_inputs() if (problem := _problem(node, known))]
        problems += [
            f"the graph gives no {spec.name!r}, which the model takes; {hint(spec.name, given)}"
            for spec in tensors
            if spec.name not in given
        ]
        if problems:
            raise Unusable(f"{path.name}: {'; '.join(problems)}")
        self._feeds = [_feed(node, known[node.name]) for node in self._session.get_inputs()]
        self._names = [spec.name for spec in tensors]

    def transform(self, frame: Frame) -> Tensors:
        """The graph's outputs for *frame*."""
        fed = {feed.name: _fed(feed, frame) for feed in self._feeds}
        return dict(zip(self._names, self._session.run(self._names, fed), strict=True))

    def close(self) -> None:
        """The session goes with the object."""


def _session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    # One thread: two collapsed under contention (facts: triton), and processes are the way to more cores.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base but Exception
        raise Unusable(f"{path.name} cannot be opened as an ONNX graph: {error}") from error


def _problem(node: ort.NodeArg, known: dict[str, ColumnSpec]) -> str | None:
    spec = known.get(node.name)
    if spec is None:
        return f"the graph takes {node.name!r}, which is neither an input nor a feature; {hint(node.name, known)}"
    if node.type not in DTYPES:
        return f"the graph takes {node.name!r} as {node.type}; use one of {', '.join(DTYPES)}"
    wanted = _row_shape(node, spec)
    if prod(wanted) != prod(spec.row_shape) or node.shape == []:
        return f"the graph takes {node.name!r} of shape {node.shape}; the column is [rows, {spec.row_shape}]"
    return unfit(spec, DTYPES[node.type])


def _feed(node: ort.NodeArg, spec: ColumnSpec) -> Feed:
    return Feed(node.name, DTYPES[node.type], _row_shape(node, spec))


def _row_shape(node: ort.NodeArg, spec: ColumnSpec) -> tuple[int, ...]:
    """A scalar column may feed [rows] and [rows, 1]; any other shape is the column's own."""
    if not spec.row_shape and len(node.shape) == 2:
        return (1,)
    fixed = tuple(size for size in node.shape[1:] if isinstance(size, int))
    return fixed if len(fixed) == len(node.shape) - 1 else spec.row_shape


def _fed(feed: Feed, frame: Frame) -> Array:
    return shaped(array_of(feed.name, frame.column(feed.name), feed.dtype), feed.row_shape)
