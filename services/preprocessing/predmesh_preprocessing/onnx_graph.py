"""Preprocessing as an ONNX graph: its inputs are columns by name, its outputs the model's tensors by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from predmesh_bundle.nearest import hint
from predmesh_bundle.schema import TensorSpec
from predmesh_frame import Frame
from predmesh_frame.blocks import BlockColumns, ColumnBlock
from predmesh_frame.columns import Array

from predmesh_preprocessing.columns import array_of, arrays_of, shaped, unfit
from predmesh_preprocessing.domain import ColumnSpec, Tensors, Unusable

ERRORS_ONLY = 3
MOST_LAYOUTS = 64
"""Layouts of blocks that are kept; callers that send ever new ones cost no memory."""
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


@dataclass(frozen=True, slots=True, eq=False)
class BlockFeed:
    """How graph inputs of one kind are fed from a block of columns.

    Attributes:
        names: of the inputs.
        rows: where their columns stand in the block; None where they are the whole block.
        dtype: what the graph takes.
        row_shape: of one row.
    """

    names: tuple[str, ...]
    rows: npt.NDArray[np.intp] | None
    dtype: np.dtype[Any]
    row_shape: tuple[int, ...]

    def fed(self, block: ColumnBlock) -> Iterator[tuple[str, Array]]:
        """Each input's name and array; the arrays are rows of one."""
        arrays = arrays_of(block, self.rows, self.dtype)
        return zip(self.names, arrays.reshape(*arrays.shape, *self.row_shape), strict=True)


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
        self._block_feeds: dict[tuple[str, ...], list[BlockFeed]] = {}

    def transform(self, frame: Frame) -> Tensors:
        """The graph's outputs for *frame*."""
        fed: dict[str, Array] = {}
        if isinstance(frame.columns, BlockColumns):
            for block in frame.columns.blocks:
                for block_feed in self._feeds_of(block.names):
                    fed.update(block_feed.fed(block))
        for feed in self._feeds:
            if feed.name not in fed:
                fed[feed.name] = _fed(feed, frame)
        return dict(zip(self._names, self._session.run(self._names, fed), strict=True))

    def close(self) -> None:
        """The session goes with the object."""

    def _feeds_of(self, names: tuple[str, ...]) -> list[BlockFeed]:
        """How a block of columns *names* feeds the graph; worked out once, for every call brings the same blocks."""
        found = self._block_feeds.get(names)
        if found is None:
            if len(self._block_feeds) >= MOST_LAYOUTS:
                self._block_feeds.clear()
            found = self._block_feeds[names] = _block_feeds(names, self._feeds)
        return found


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


def _block_feeds(names: tuple[str, ...], feeds: Sequence[Feed]) -> list[BlockFeed]:
    places = {name: place for place, name in enumerate(names)}
    kinds: dict[tuple[np.dtype[Any], tuple[int, ...]], list[int]] = {}
    for feed in feeds:
        if feed.name in places:
            kinds.setdefault((feed.dtype, feed.row_shape), []).append(places[feed.name])
    return [_block_feed(names, sorted(found), *kind) for kind, found in kinds.items()]


def _block_feed(
    names: tuple[str, ...], places: Sequence[int], dtype: np.dtype[Any], row_shape: tuple[int, ...]
) -> BlockFeed:
    if len(places) == len(names):
        return BlockFeed(names, None, dtype, row_shape)
    return BlockFeed(tuple(names[place] for place in places), np.array(places, dtype=np.intp), dtype, row_shape)


def _fed(feed: Feed, frame: Frame) -> Array:
    return shaped(array_of(feed.name, frame.column(feed.name), feed.dtype), feed.row_shape)
