"""Inputs that come as columns instead of JSON: the same rules, the same words, whole arrays at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from predmesh_frame import Column, DataType
from predmesh_frame.columns import Array

from predmesh_prediction.inputs import MISSING, CompiledInput
from predmesh_prediction.violations import Violations

_WIDER = {DataType.INT32: DataType.INT64, DataType.FLOAT: DataType.DOUBLE}
_WRITTEN_AS_TEXT = (DataType.TIMESTAMP, DataType.BYTES)


def read_column(spec: CompiledInput, column: Column, at: str, violations: Violations) -> Column | None:
    """The checked column of *spec*; None where *violations* took what is wrong.

    Widens int32 to int64 and float to double, and reads timestamps and bytes that are written as text.

    Args:
        spec: the input.
        column: what came for it.
        at: place of the column in the request, e.g. ``columns.carrier``.
        violations: takes what is wrong.
    """
    if column.row_shape != spec.shape:
        violations.add(at, spec.shape_text(column.row_shape))
        return None
    before = violations.count
    if spec.required and column.valid is not None:
        for row in np.flatnonzero(~column.valid).tolist():
            violations.add(f"{at}[{row}]", MISSING)
    brought = _checked(spec, column, at, violations)
    if brought is None or violations.count > before:
        return None
    if column.valid is None:
        return Column(spec.type, brought)
    return spec.filled(brought, column.valid)


def _checked(spec: CompiledInput, column: Column, at: str, violations: Violations) -> Array | None:
    """The values of present rows, in the type of *spec*."""
    brought = column.values if column.valid is None else column.values[column.valid]
    if column.type is DataType.STRING and spec.type in _WRITTEN_AS_TEXT:
        decoded = spec.rule.read(brought.ravel().tolist())
        if decoded is None:
            _explain(spec, column, at, violations)
            return None
        return decoded.reshape(brought.shape)
    if column.type is not spec.type and _WIDER.get(column.type) is not spec.type:
        wanted = spec.type.name.lower()
        violations.add(at, f"must be of type {wanted}, not {column.type.name.lower()}", wanted)
        return None
    if not spec.rule.allows(brought):
        _explain(spec, column, at, violations)
        return None
    return brought.astype(spec.type.numpy, copy=False)


def _explain(spec: CompiledInput, column: Column, at: str, violations: Violations) -> None:
    for row in np.flatnonzero(column.mask).tolist():
        for index, value in np.ndenumerate(column.values[row]):
            if _right(spec, column, value):
                continue
            if violations.full:
                violations.skip()
            else:
                where = "".join(f"[{each}]" for each in (row, *index))
                spec.blame(value.item() if isinstance(value, np.generic) else value, at + where, violations)


def _right(spec: CompiledInput, column: Column, value: Any) -> bool:
    if column.type is DataType.STRING and spec.type in _WRITTEN_AS_TEXT:
        return spec.rule.one(value) is not None
    return spec.rule.allows(np.array([value], dtype=column.type.numpy))
