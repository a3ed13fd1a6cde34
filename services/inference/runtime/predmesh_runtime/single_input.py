"""Frameworks that take one table of numbers: how a bundle's tensors become it, and how its answer becomes tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from predmesh_runtime.errors import LoadError
from predmesh_runtime.specs import Array, TensorSpec


def check_numeric(specs: Sequence[TensorSpec]) -> None:
    """Refuse inputs that no table of numbers can hold.

    Raises:
        LoadError: an input is text, or has more than one axis a row.
    """
    for spec in specs:
        if spec.datatype == "BYTES" or len(spec.shape) > 1:
            raise LoadError(f"input {spec.name} must be numbers, one axis a row: give text and images to preprocessing")


def table(specs: Sequence[TensorSpec], tensors: Mapping[str, Array]) -> Array:
    """The tensors beside each other in the bundle's order: (rows, features)."""
    columns = [tensors[spec.name] for spec in specs]
    parts = [column[:, np.newaxis] if column.ndim == 1 else column for column in columns]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def scores(outputs: Sequence[TensorSpec], values: Array) -> dict[str, Array]:
    """A booster's answer under the one output's name; two columns are asked for where one probability is given."""
    spec = outputs[0]
    if values.ndim == 1 and spec.shape == (2,):
        return {spec.name: np.stack([1 - values, values], axis=1)}
    return {spec.name: values}


def check_one_output(specs: Sequence[TensorSpec]) -> None:
    """Refuse more than one output.

    Raises:
        LoadError: there are several.
    """
    if len(specs) != 1:
        raise LoadError("a booster gives one output: name one in predmesh.yaml")
