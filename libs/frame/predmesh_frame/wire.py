"""Frames and tensors to their messages and back; what comes from outside is checked, sizes are left to the services."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from predmesh.type.v1 import frame_pb2, tensor_pb2

from predmesh_frame import oip
from predmesh_frame.blocks import BlockColumns, ColumnBlock
from predmesh_frame.columns import Array, Column, DataType, FrameError, Mask, object_array
from predmesh_frame.frames import Frame

_READABLE = {
    DataType.BOOL: "bools",
    DataType.INT32: "integers",
    DataType.INT64: "integers",
    DataType.FLOAT: "doubles",
    DataType.DOUBLE: "doubles",
    DataType.STRING: "strings",
    DataType.BYTES: "bytes",
    DataType.TIMESTAMP: "integers",
}
_LISTS: dict[str, Any] = {
    "bools": frame_pb2.BoolValues,
    "integers": frame_pb2.IntegerValues,
    "doubles": frame_pb2.DoubleValues,
    "strings": frame_pb2.StringValues,
    "bytes": frame_pb2.BytesValues,
}
_TYPES = {int(type): type for type in DataType}


def frame_to_proto(frame: Frame, *, readable: bool = False) -> frame_pb2.Frame:
    """The message of *frame*; values travel packed, blocks whole, or as lists a person can read."""
    columns, blocks = frame.columns, []
    if isinstance(columns, BlockColumns) and not readable:
        blocks = [block_to_proto(block) for block in columns.blocks]
        columns = columns.single
    single = [column_to_proto(name, column, readable=readable) for name, column in columns.items()]
    return frame_pb2.Frame(rows=frame.rows, columns=single, blocks=blocks)


def frame_from_proto(pb: frame_pb2.Frame) -> Frame:
    """The frame in *pb*, packed or readable; its arrays are read-only where they share the message's bytes.

    Raises:
        FrameError: a column has no name, a name twice, another number of rows, or values not of its type.
    """
    columns: dict[str, Column] = {}
    rows = pb.rows
    for column in pb.columns:
        name = column.name
        if name in columns:
            raise FrameError(name, "is there twice")
        columns[name] = column_from_proto(column, rows)
    return Frame.of_blocks(rows, columns, [block_from_proto(block, rows) for block in pb.blocks])


def block_to_proto(block: ColumnBlock) -> frame_pb2.ColumnBlock:
    """The message of *block*."""
    packed = np.ascontiguousarray(block.values, dtype=block.type.numpy).tobytes()
    pb = frame_pb2.ColumnBlock(names=block.names, type=block.type.value, packed=packed)  # type: ignore[arg-type]
    if block.valid is not None and not block.valid.all():
        pb.validity = block.valid.tobytes()
    return pb


def block_from_proto(pb: frame_pb2.ColumnBlock, rows: int) -> ColumnBlock:
    """The columns of *rows* rows in *pb*.

    Raises:
        FrameError: no or empty names, no such type, or values that are not *rows* of it a column.
    """
    names = tuple(pb.names)
    if not names or "" in names:
        raise FrameError("", "a block has a column without a name" if names else "a block has no columns")
    type = _TYPES.get(pb.type)
    if type is None or not type.packs:
        raise FrameError(names[0], f"stands in a block of no packed type ({pb.type}); say DATA_TYPE_DOUBLE, …")
    shape = (len(names), rows)
    try:
        values = _from_bytes(type, shape, pb.packed, f"{rows} rows of {len(names)} columns")
        return ColumnBlock(names, type, values, _validity(shape, pb.validity))
    except FrameError as error:
        raise FrameError(names[0], f"stands in a block that {error.reason}") from None


def column_to_proto(name: str, column: Column, *, readable: bool = False) -> frame_pb2.Column:
    """The message of one column; an absent row holds zero, false, "" or no bytes unless it is packed."""
    type, valid = column.type, column.valid
    fields: dict[str, Any] = {}
    if valid is not None and valid.all():
        valid = None
    if valid is not None:
        fields["validity"] = valid.tobytes()
    if column.values.ndim > 1:
        fields["row_shape"] = column.row_shape
    if not readable and type.packs:
        fields["packed"] = np.ascontiguousarray(column.values, dtype=type.numpy).tobytes()
    else:
        kind = _READABLE[type]
        fields[kind] = _LISTS[kind](values=_filled(column, valid).ravel().tolist())
    return frame_pb2.Column(name=name, type=type.value, **fields)  # type: ignore[arg-type]


def column_from_proto(pb: frame_pb2.Column, rows: int) -> Column:
    """The column of *rows* rows in *pb*.

    Raises:
        FrameError: no name, no such type, or values that are not *rows* of it.
    """
    if not pb.name:
        raise FrameError("", "a column has no name")
    type = _TYPES.get(pb.type)
    if type is None:
        raise FrameError(pb.name, f"has no known type ({pb.type}); say DATA_TYPE_DOUBLE, DATA_TYPE_STRING, …")
    shape = (rows, *pb.row_shape)
    if len(shape) > 1 and min(shape[1:]) < 1:
        raise FrameError(pb.name, f"row_shape {list(pb.row_shape)} has a dimension below 1")
    kind = pb.WhichOneof("values")
    values = _unpacked(pb, type, shape) if kind == "packed" else _listed(pb, type, shape, kind)
    try:
        return Column(type, values, _validity((rows,), pb.validity))
    except FrameError as error:
        raise FrameError(pb.name, error.reason) from None


def tensor_to_proto(name: str, array: Array) -> tensor_pb2.Tensor:
    """The message of one tensor.

    Raises:
        FrameError: the element type has no name in the Open Inference Protocol.
    """
    try:
        return tensor_pb2.Tensor(
            name=name, datatype=oip.datatype_of(array.dtype), shape=array.shape, data=oip.to_raw(array)
        )
    except FrameError as error:
        raise FrameError(name, error.reason) from None


def tensor_from_proto(pb: tensor_pb2.Tensor) -> tuple[str, Array]:
    """Name and array in *pb*; the array is read-only.

    Raises:
        FrameError: no name, an unknown datatype, or data of another length than the shape says.
    """
    if not pb.name:
        raise FrameError("", "a tensor has no name")
    try:
        return pb.name, oip.from_raw(pb.datatype, pb.shape, pb.data)
    except FrameError as error:
        raise FrameError(pb.name, error.reason) from None


def _filled(column: Column, valid: Mask | None) -> Array:
    if valid is None:
        return column.values
    values = column.values.copy()
    values[~valid] = column.type.empty
    return values


def _unpacked(pb: frame_pb2.Column, type: DataType, shape: tuple[int, ...]) -> Array:
    if not type.packs:
        raise FrameError(pb.name, f"is {type.name} and cannot be packed; send {_READABLE[type]}")
    try:
        return _from_bytes(type, shape, pb.packed, f"{shape[0]} rows")
    except FrameError as error:
        raise FrameError(pb.name, error.reason) from None


def _from_bytes(type: DataType, shape: tuple[int, ...], data: bytes, what: str) -> Array:
    expected = prod(shape) * type.numpy.itemsize
    if len(data) != expected:
        raise FrameError("", f"holds {len(data)} packed bytes where {what} take {expected}")
    values = np.frombuffer(data, dtype=np.uint8 if type is DataType.BOOL else type.numpy).reshape(shape)
    return values != 0 if type is DataType.BOOL else values


def _listed(pb: frame_pb2.Column, type: DataType, shape: tuple[int, ...], kind: str | None) -> Array:
    if kind != _READABLE[type]:
        allowed = _READABLE[type] + (" or packed" if type.packs else "")
        raise FrameError(pb.name, f"is {type.name} and holds {kind or 'no values'}; send {allowed}")
    values: Sequence[Any] = getattr(pb, kind).values
    if len(values) != prod(shape):
        raise FrameError(pb.name, f"holds {len(values)} values where {shape[0]} rows take {prod(shape)}")
    if not type.packs:
        return object_array(values, shape)
    try:
        return np.array(values, dtype=type.numpy).reshape(shape)
    except OverflowError as error:
        raise FrameError(pb.name, f"does not fit {type.name}: {error}") from None


def _validity(shape: tuple[int, ...], data: bytes) -> Mask | None:
    if not data:
        return None
    if len(data) != prod(shape):
        raise FrameError("", f"holds {len(data)} validity bytes where {prod(shape)} are due")
    valid = np.frombuffer(data, dtype=np.uint8).reshape(shape) != 0
    return None if valid.all() else valid
