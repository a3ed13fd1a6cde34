"""Tensors in the words of the Open Inference Protocol: names of element types, and raw bytes.

Knows the protocol's encoding, not its messages; a message comes in through `TypedContents`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from math import prod
from typing import Any, Protocol

import numpy as np

from predmesh_frame.columns import Array, FrameError, object_array

NUMPY: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype(object),
}
"""Element types by the protocol's name; BYTES elements are Python ``bytes``."""

_NAMES = {dtype: name for name, dtype in NUMPY.items()}
FIELDS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Field of InferTensorContents that holds the values of each type; FP16 has none and travels raw."""
_CONTENTS = frozenset(FIELDS.values())


_MOST_DIMENSIONS = 32
_MOST_EMPTY = 2**31


class TensorError(FrameError):
    """A tensor that cannot be what it claims to be.

    Attributes:
        part: what of it is at fault: `datatype`, `shape`, or its `data`.
    """

    def __init__(self, part: str, reason: str) -> None:
        super().__init__("", reason)
        self.part = part


class TypedContents(Protocol):
    """The protocol's InferTensorContents: one repeated field a family of types."""

    bool_contents: Sequence[bool]
    int_contents: Sequence[int]
    int64_contents: Sequence[int]
    uint_contents: Sequence[int]
    uint64_contents: Sequence[int]
    fp32_contents: Sequence[float]
    fp64_contents: Sequence[float]
    bytes_contents: Sequence[bytes]


def datatype_of(dtype: np.dtype[Any]) -> str:
    """The protocol's name of a numpy element type; text and objects are BYTES.

    Raises:
        FrameError: the protocol has no such type.
    """
    if dtype.kind in "OSU":
        return "BYTES"
    name = _NAMES.get(dtype.newbyteorder("<"))
    if name is None:
        raise FrameError("", f"numpy type {dtype} has no name in the Open Inference Protocol")
    return name


def dtype_of(datatype: str) -> np.dtype[Any]:
    """The numpy element type of the protocol's *datatype*.

    Raises:
        TensorError: it is unknown here (BF16, say).
    """
    try:
        return NUMPY[datatype]
    except KeyError:
        text = f"datatype {datatype[:40]!r} is unknown; it must be one of {', '.join(NUMPY)}"
        raise TensorError("datatype", text) from None


def to_raw(array: Array) -> bytes:
    """The array's elements, row-major and little-endian; BYTES elements each after their length.

    Raises:
        FrameError: an object element is neither text nor bytes.
    """
    if array.dtype.kind in "OSU":
        return encode_bytes(array)
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()


def from_raw(datatype: str, shape: Sequence[int], data: bytes) -> Array:
    """The array of *shape* that *data* holds; it shares *data*'s memory and is read-only.

    Raises:
        TensorError: the datatype is unknown, the shape none that can be, the length another, or a BOOL neither 0 nor 1.
    """
    dtype, dims = dtype_of(datatype), checked_shape(shape)
    if datatype == "BYTES":
        return object_array(decode_bytes(data, prod(dims)), dims)
    if len(data) != prod(dims) * dtype.itemsize:
        taken = prod(dims) * dtype.itemsize
        raise TensorError("data", f"holds {len(data)} bytes where {datatype} of shape {list(dims)} takes {taken}")
    if datatype == "BOOL" and data.translate(None, b"\0\1"):
        raise TensorError("data", "holds a byte that is neither 0 nor 1, the values of BOOL")
    return np.frombuffer(data, dtype=dtype).reshape(dims)


def from_contents(datatype: str, shape: Sequence[int], contents: TypedContents) -> Array:
    """The array that the typed *contents* of a request hold.

    Raises:
        TensorError: the datatype has no typed contents (FP16), a value overflows it, the number of values is another,
            or there are some of another type as well.
    """
    dtype, dims = dtype_of(datatype), checked_shape(shape)
    own = FIELDS.get(datatype)
    if own is None:
        raise TensorError("data", f"datatype {datatype} has no typed contents; send raw_input_contents")
    for field in _CONTENTS:
        if field != own and getattr(contents, field):
            raise TensorError("data", f"holds values in {field}; those of {datatype} go into {own}")
    values: Sequence[Any] = getattr(contents, own)
    if len(values) != prod(dims):
        raise TensorError("data", f"holds {len(values)} values in {own} where shape {list(dims)} takes {prod(dims)}")
    if datatype == "BYTES":
        return object_array(values, dims)
    try:
        return np.array(values, dtype=dtype).reshape(dims)
    except OverflowError:
        raise TensorError("data", f"holds a number that does not fit {datatype}") from None


def encode_bytes(array: Array) -> bytes:
    """BYTES elements in row-major order, each after its length as unsigned 32-bit little-endian; text becomes UTF-8.

    Raises:
        FrameError: an element is neither text nor bytes.
    """
    parts: list[bytes] = []
    for value in array.ravel().tolist():
        element = value.encode() if isinstance(value, str) else value
        if not isinstance(element, bytes):
            raise FrameError("", f"element {value!r:.40} is neither text nor bytes")
        parts += (struct.pack("<I", len(element)), element)
    return b"".join(parts)


def decode_bytes(data: bytes, count: int) -> list[bytes]:
    """The *count* elements that `encode_bytes` wrote.

    Raises:
        TensorError: *data* holds fewer or more.
    """
    elements: list[bytes] = []
    at = 0
    while at < len(data) and len(elements) < count:
        end = at + 4 + int.from_bytes(data[at : at + 4], "little")
        if end > len(data):
            raise TensorError("data", f"BYTES element {len(elements)} ends outside of the data")
        elements.append(data[at + 4 : end])
        at = end
    if len(elements) != count or at != len(data):
        raise TensorError("data", f"holds {len(elements)} BYTES elements and {len(data) - at} bytes more, not {count}")
    return elements


def checked_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """The dimensions of *shape*.

    Raises:
        TensorError: one is negative, there are too many, or one beside a 0 is larger than any array's.
    """
    dims = tuple(shape)
    if len(dims) == 1 and dims[0] >= 0:
        return dims
    if any(size < 0 for size in dims):
        raise TensorError("shape", f"must have no negative dimension, as {list(dims[:_MOST_DIMENSIONS])} has")
    if len(dims) > _MOST_DIMENSIONS:
        raise TensorError("shape", f"has {len(dims)} dimensions; at most {_MOST_DIMENSIONS} are allowed")
    if 0 in dims and prod(size or 1 for size in dims) > _MOST_EMPTY:
        raise TensorError("shape", f"must be that of an array that can be, not {list(dims)}")
    return dims
