"""The preprocessing of a bundle that declares none: each tensor is the columns of its name, or of its feature names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
from predmesh_bundle.rules import sources
from predmesh_bundle.schema import TensorSpec
from predmesh_frame import Frame
from predmesh_frame.columns import Array
from predmesh_frame.oip import dtype_of

from predmesh_preprocessing.columns import array_of, shaped, unfit
from predmesh_preprocessing.domain import ColumnSpec, Tensors, Unusable


class Direct:
    """Columns become tensors unchanged, or beside each other where a tensor has feature names."""

    blocking = False

    def __init__(self, columns: Sequence[ColumnSpec], tensors: Sequence[TensorSpec]) -> None:
        """Take *columns* to *tensors*.

        Raises:
            Unusable: a tensor has no column of its name, or one that does not fit.
        """
        self._sources = {spec: sources(tensors, spec) for spec in tensors}
        known = {spec.name: spec for spec in columns}
        problems = [text for spec, names in self._sources.items() for text in _problems(spec, names, known)]
        if problems:
            raise Unusable("; ".join(problems))

    def transform(self, frame: Frame) -> Tensors:
        """The tensors of *frame*."""
        return {spec.name: _tensor(spec, names, frame) for spec, names in self._sources.items()}

    def close(self) -> None:
        """Nothing is held."""


def _tensor(spec: TensorSpec, names: Sequence[str], frame: Frame) -> Array:
    dtype = dtype_of(spec.datatype)
    arrays = [array_of(name, frame.column(name), dtype) for name in names]
    if len(arrays) == 1:
        return shaped(arrays[0], spec.shape) if -1 not in spec.shape else arrays[0]
    return np.stack(arrays, axis=1)


def _problems(spec: TensorSpec, names: Sequence[str], known: Mapping[str, ColumnSpec]) -> list[str]:
    dtype = dtype_of(spec.datatype)
    unknown = [
        f"the model takes {name!r}, which is neither an input nor a feature" for name in names if name not in known
    ]
    if unknown:
        return unknown
    unfits = [problem for name in names if (problem := unfit(known[name], dtype))]
    return unfits or _shape_problems(spec, [known[name] for name in names])


def _shape_problems(spec: TensorSpec, columns: Sequence[ColumnSpec]) -> list[str]:
    if len(columns) > 1:
        uneven = [column.name for column in columns if column.row_shape]
        return [f"{uneven[0]!r} is no scalar, and cannot stand beside others"] if uneven else []
    (column,) = columns
    if -1 not in spec.shape and prod(column.row_shape) != prod(spec.shape):
        return [f"{column.name!r} has rows of shape {list(column.row_shape)}, the model takes {list(spec.shape)}"]
    return []
