"""From columns straight to the model's tensors, for bundles that declare no preprocessing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from predmesh_bundle.rules import sources
from predmesh_bundle.schema import Bundle, TensorSpec
from predmesh_frame import Column
from predmesh_frame.columns import Array
from predmesh_frame.oip import dtype_of

from predmesh_prediction.domain import Tensors


def tensors_of(specs: Sequence[TensorSpec], columns: Mapping[str, Column]) -> Tensors:
    """Each tensor is the column of its name; a single one with `feature_names` is those columns side by side.

    Absent numbers become NaN; what cannot be made at all is refused by `check_direct`, when the bundle is loaded.
    """
    return {spec.name: _tensor(spec, [columns[name] for name in sources(specs, spec)]) for spec in specs}


def check_direct(bundle: Bundle, features: Iterable[str]) -> None:
    """Refuse a bundle whose tensors cannot be made of its columns without preprocessing.

    Raises:
        ValueError: says which tensor, and why.
    """
    inputs = {spec.name: spec for spec in bundle.inputs}
    known = {*inputs, *features}
    for spec in bundle.inference.inputs:
        for name in sources(bundle.inference.inputs, spec):
            if name not in known:
                raise ValueError(f"tensor {spec.name!r} needs {name!r}, which is no input or feature")
            given = inputs.get(name)
            holds_nothing = spec.datatype == "BYTES" or spec.datatype.startswith("FP")
            if given is not None and not given.required and given.default is None and not holds_nothing:
                raise ValueError(f"tensor {spec.name!r} cannot hold a missing {name!r}: give that input a default")


def _tensor(spec: TensorSpec, columns: Sequence[Column]) -> Array:
    dtype = dtype_of(spec.datatype)
    rows = columns[0].rows
    parts = [_values(column, dtype) for column in columns]
    joined = parts[0] if len(parts) == 1 else np.concatenate([part.reshape(rows, -1) for part in parts], axis=1)
    return joined if -1 in spec.shape else joined.reshape((rows, *spec.shape))


def _values(column: Column, dtype: np.dtype[Any]) -> Array:
    if dtype.hasobject:
        return column.values
    values = column.values.astype(dtype)
    if column.valid is not None and dtype.kind == "f":
        values[~column.valid] = np.nan
    return values
