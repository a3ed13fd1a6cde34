"""Tensors that a model takes or gives, and whether arrays keep to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predmesh_runtime.errors import InputError, LoadError, RunError

Array = NDArray[Any]

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)},
    "BYTES": np.dtype(object),
}
"""numpy's element types by the names of the Open Inference Protocol; BYTES elements are Python ``bytes``."""


@dataclass(frozen=True)
class TensorSpec:
    """One tensor: its name, element type, and the shape of one row; -1 is any length."""

    name: str
    datatype: str
    shape: tuple[int, ...] = ()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Its numpy element type."""
        return DTYPES[self.datatype]

    def problem(self, array: Array) -> str | None:
        """Why *array* (rows first) is not of this kind; None where it is."""
        if array.dtype.kind != "O" and array.dtype.newbyteorder("=") != self.dtype.newbyteorder("="):
            return f"{self.name} holds {array.dtype}, it must hold {self.datatype}"
        if (array.dtype.kind == "O") != (self.datatype == "BYTES"):
            return f"{self.name} holds {array.dtype}, it must hold {self.datatype}"
        if not fits(array.shape[1:], self.shape) or array.ndim == 0:
            return f"{self.name} has shape {list(array.shape)}, it must be [rows, {', '.join(map(str, self.shape))}]"
        return None


def fits(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether a row of *shape* is one of *wanted*, where -1 stands for any length."""
    return len(shape) == len(wanted) and all(want in (-1, have) for have, want in zip(shape, wanted, strict=True))


def read_specs(items: Iterable[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    """The specifications as a bundle's JSON spells them.

    Raises:
        LoadError: an element type is unknown.
    """
    specs = tuple(TensorSpec(item["name"], item["datatype"], tuple(item.get("shape", ()))) for item in items)
    for spec in specs:
        if spec.datatype not in DTYPES:
            raise LoadError(f"tensor {spec.name} has datatype {spec.datatype!r}; use one of {', '.join(DTYPES)}")
    return specs


def check_inputs(specs: Sequence[TensorSpec], tensors: Mapping[str, Array]) -> int:
    """The number of rows, which all *tensors* share.

    Raises:
        InputError: a tensor is missing, unknown, of another type or shape, or has another number of rows.
    """
    names = [spec.name for spec in specs]
    if set(tensors) != set(names):
        raise InputError(f"the model takes {', '.join(names)}; it was given {', '.join(tensors) or 'nothing'}")
    problems = [text for spec in specs if (text := spec.problem(tensors[spec.name]))]
    if problems:
        raise InputError("; ".join(problems))
    rows = {tensors[name].shape[0] for name in names}
    if len(rows) != 1:
        raise InputError(f"the tensors have different numbers of rows: {sorted(rows)}")
    return int(rows.pop())


def shaped(spec: TensorSpec, values: Array, rows: int) -> Array:
    """*values* as the contiguous array of *rows* that *spec* says; a missing last axis of length 1 is added.

    Raises:
        RunError: they are of another shape or kind.
    """
    array = values
    if array.ndim == 1 and spec.shape == (1,):
        array = array[:, np.newaxis]
    if array.ndim == 2 and spec.shape == () and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape[:1] != (rows,) or not fits(array.shape[1:], spec.shape):
        raise RunError(
            f"the model gave {spec.name} of shape {list(values.shape)}; the bundle says "
            f"[{', '.join(map(str, (rows, *spec.shape)))}]: correct the output's shape in predmesh.yaml"
        )
    return _typed(spec, array)


def _typed(spec: TensorSpec, array: Array) -> Array:
    if spec.datatype == "BYTES":
        return _bytes(array)
    if not np.can_cast(array.dtype, spec.dtype, casting="same_kind"):
        raise RunError(
            f"the model gave {spec.name} as {array.dtype}; the bundle says {spec.datatype}: correct predmesh.yaml"
        )
    return np.ascontiguousarray(array, dtype=spec.dtype)


def _bytes(array: Array) -> Array:
    encoded = np.empty(array.shape, dtype=object)
    encoded.ravel()[:] = [item if isinstance(item, bytes) else str(item).encode() for item in array.ravel().tolist()]
    return encoded
