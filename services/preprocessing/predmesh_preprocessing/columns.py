"""Columns as plain arrays: what is missing becomes NaN or "", and nothing is ever narrowed silently."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from predmesh_frame import Column
from predmesh_frame.blocks import ColumnBlock
from predmesh_frame.columns import Array
from predmesh_rpc.errors import InvalidInput, Violation

from predmesh_preprocessing.domain import ColumnSpec


def unfit(spec: ColumnSpec, dtype: np.dtype[Any]) -> str | None:
    """Why a column of *spec* cannot become an array of *dtype* (object for text and bytes); None where it can."""
    text = not spec.type.packs
    if text != (dtype.kind == "O"):
        return f"{spec.name!r} is {spec.type.name.lower()}, and cannot become {dtype}"
    if text:
        return None
    if dtype.kind != "f" and not np.can_cast(spec.type.numpy, dtype, casting="safe"):
        return f"{spec.name!r} is {spec.type.name.lower()}, and {dtype} cannot hold all of its values"
    if dtype.kind != "f" and spec.may_be_missing:
        return f"{spec.name!r} may be missing, and {dtype} has no NaN: take it as float or double, or give it a default"
    return None


def array_of(name: str, column: Column, dtype: np.dtype[Any]) -> Array:
    """The column's values as *dtype*, which must be fit for them.

    Raises:
        InvalidInput: a row is missing, and *dtype* has nothing to say so.
    """
    absent = None if column.valid is None or column.valid.all() else ~column.valid
    if column.type.packs:
        values = column.values.astype(dtype, copy=False)
        return values if absent is None else _filled(values, absent, _nothing(name, dtype))
    return column.values if absent is None else _filled(column.values, absent, column.type.empty)


def arrays_of(block: ColumnBlock, rows: npt.NDArray[np.intp] | None, dtype: np.dtype[Any]) -> Array:
    """(columns, rows) values of the block's columns at *rows*, or of all, as *dtype*, which must be fit for them.

    Raises:
        InvalidInput: a value is missing, and *dtype* has nothing to say so.
    """
    values = (block.values if rows is None else block.values[rows]).astype(dtype, copy=False)
    if block.valid is None:
        return values
    valid = block.valid if rows is None else block.valid[rows]
    if valid.all():
        return values
    first = int(valid.all(axis=1).argmin())
    return _filled(values, ~valid, _nothing(block.names[first if rows is None else rows[first]], dtype))


def shaped(array: Array, row_shape: Sequence[int]) -> Array:
    """*array* with rows of *row_shape*, which holds as many elements as its rows do."""
    return array if array.shape[1:] == tuple(row_shape) else array.reshape(array.shape[0], *row_shape)


def _nothing(name: str, dtype: np.dtype[Any]) -> float:
    if dtype.kind != "f":
        problem = Violation(name, "is missing in a row; the preprocessing needs a value")
        raise InvalidInput("ERROR_REASON_INVALID_REQUEST", f"column {name!r} is missing in a row", [problem])
    return float("nan")


def _filled(values: Array, absent: Array, empty: Any) -> Array:
    filled = values.copy()
    filled[absent] = empty
    return filled
