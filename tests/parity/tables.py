"""Rows as columns and as tensors, and outputs out of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from predmesh.type.v1 import frame_pb2
from predmesh_frame import oip
from predmesh_frame.wire import frame_from_proto

from tests.parity.rows import (
    INPUTS,
    OUTPUTS,
    CannotSay,
    Field,
    Row,
    common_shape,
    flat,
    output,
    said,
)

_DATATYPES = {"bool": "BOOL", "int32": "INT32", "int64": "INT64", "float": "FP32", "double": "FP64"}


def frame(rows: Sequence[Row], *, packed: bool) -> frame_pb2.Frame:
    """The rows as columns. Raises CannotSay."""
    if not all(isinstance(row, dict) for row in rows):
        raise CannotSay("columns hold values of inputs")
    made = frame_pb2.Frame(rows=len(rows))
    if not rows:
        made.columns.extend(_column(name, (), field.shape, packed=packed) for name, field in INPUTS.items())
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(name) for row in rows]
        there = [value for value in values if value is not None]
        if there:
            made.columns.append(_column(name, values, common_shape(there), packed=packed))
    return made


def _column(name: str, values: Sequence[Any], shape: tuple[int, ...], *, packed: bool) -> frame_pb2.Column:
    field = INPUTS.get(name) or Field(name, "string")
    kind = "string" if field.type == "timestamp" else field.type
    empty = {"bool": False, "string": "", "bytes": b""}.get(kind, 0)
    elements: list[Any] = []
    for value in values:
        filled = [empty] * int(np.prod(shape)) if value is None else flat(value)
        elements += [said(Field(name, kind), each) for each in filled]
    column = frame_pb2.Column(name=name, type=frame_pb2.DataType.Value(f"DATA_TYPE_{kind.upper()}"), row_shape=shape)
    if None in values:
        column.validity = bytes(value is not None for value in values)
    lists = {"bool": "bools", "int32": "integers", "int64": "integers", "float": "doubles", "double": "doubles"}
    if packed and kind in lists:
        dtypes = {"bool": "?", "int32": "<i4", "int64": "<i8", "float": "<f4", "double": "<f8"}
        column.packed = np.array(elements, dtypes[kind]).tobytes()
    else:
        target: Any = getattr(column, lists.get(kind, "strings" if kind == "string" else "bytes"))
        target.SetInParent()
        target.values.extend(elements)
    return column


def of_frame(message: frame_pb2.Frame) -> list[dict[str, Any]]:
    """The rows of the outputs in a frame."""
    columns = {name: column.values for name, column in frame_from_proto(message).columns.items()}
    return of_arrays(columns)


def tensors(rows: Sequence[Row]) -> list[tuple[str, str, tuple[int, ...], list[Any]]]:
    """Name, datatype, shape and values of each input as tensors. Raises CannotSay."""
    if not all(isinstance(row, dict) and row for row in rows):
        raise CannotSay("tensors hold values of inputs, and without a tensor there is no row")
    if not rows:
        datatypes = ((name, _DATATYPES.get(field.type, "BYTES"), field.shape) for name, field in INPUTS.items())
        return [(name, datatype, (0, *shape), []) for name, datatype, shape in datatypes]
    made = []
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(name) for row in rows]
        if None in values:
            if any(value is not None for value in values):
                raise CannotSay("a tensor has no missing values")
            continue
        field = INPUTS.get(name) or Field(name, "string")
        elements = [said(field, each) for value in values for each in flat(value)]
        if not all(map(is_utf8, elements)):
            raise CannotSay("text is UTF-8")
        encoded = [value.encode() if isinstance(value, str) else value for value in elements]
        shape = (len(rows), *common_shape(values))
        made.append((name, _DATATYPES.get(field.type, "BYTES"), shape, encoded))
    return made


def raw_bytes(datatype: str, values: list[Any]) -> bytes:
    """The elements of a tensor, as they travel."""
    return oip.to_raw(np.array(values, oip.NUMPY[datatype]))


def of_arrays(arrays: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of outputs that came as arrays, (rows, shape) by name."""
    columns = {name: [_text(name, each) for each in array.tolist()] for name, array in arrays.items()}
    return outputs_of([dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)])


def _text(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_text(name, each) for each in value]
    return value.decode() if isinstance(value, bytes) and OUTPUTS[name].type != "bytes" else value


def outputs_of(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of outputs in the form that outcomes are compared in."""
    return [{name: output(name, value) for name, value in row.items()} for row in rows]


def is_utf8(value: Any) -> bool:
    """Whether a text can be sent; what is no text can."""
    try:
        return not isinstance(value, str) or bool(value.encode()) or not value
    except UnicodeEncodeError:
        return False
