"""Columns as JSON values, row by row."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
from predmesh_frame import Column, DataType, Frame

from predmesh_prediction.values import EXACT, timestamp_text


def records(frame: Frame) -> list[dict[str, Any]]:
    """One JSON object a row, from column name to value."""
    names = tuple(frame.columns)
    values = zip(*(json_values(column) for column in frame.columns.values()), strict=True)
    return [dict(zip(names, row, strict=True)) for row in values]


def json_values(column: Column) -> list[Any]:
    """One JSON value a row.

    A float that is not finite becomes null, a 64-bit integer beyond 2^53 a decimal string, a timestamp RFC 3339 text,
    bytes base64.
    """
    values: Any = column.values
    if values.dtype.kind == "f":
        finite = np.isfinite(values)
        return _list(values if finite.all() else np.where(finite, values.astype(object), np.array(None)))
    if column.type is DataType.INT64 and values.size and max(-int(values.min()), int(values.max())) >= EXACT:
        return _mapped(values.tolist(), lambda value: str(value) if abs(value) >= EXACT else value)
    if column.type is DataType.TIMESTAMP:
        return _mapped(values.tolist(), timestamp_text)
    if column.type is DataType.BYTES:
        return _mapped(values.tolist(), lambda value: base64.b64encode(value).decode())
    return _list(values)


def _list(values: Any) -> list[Any]:
    return values.tolist()  # type: ignore[no-any-return]


def _mapped(values: list[Any], change: Callable[[Any], Any]) -> list[Any]:
    return [_mapped(value, change) if isinstance(value, list) else change(value) for value in values]
