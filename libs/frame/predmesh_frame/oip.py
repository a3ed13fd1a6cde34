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
        FrameError: it is unknown here (BF16, say).
    """
    try:
        return NUMPY[datatype]
    except KeyError:
        raise FrameError("", f"datatype {datatype!r} is unknown; it must be one of {', '.join(NUMPY)}") from None


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
        FrameError: the datatype is unknown, a dimension negative, or the length another.
    """
    dtype, dims = dtype_of(datatype), _checked(shape)
    if datatype == "BYTES":
        return object_array(decode_bytes(data, prod(dims)), dims)
    if len(data) != prod(dims) * dtype.itemsize:
        raise FrameError(
            "", f"holds {len(data)} bytes where {datatype} of shape {list(dims)} takes {prod(dims) * dtype.itemsize}"
        )
    return np.frombuffer(data, dtype=dtype).reshape(dims)


def from_contents(datatype: str, shape: Sequence[int], contents: TypedContents) -> Array:
    """The array that the typed *contents* of a request hold.

    Raises:
        FrameError: the datatype has no typed contents (FP16), a value overflows it, or the number of values is another.
    """
    dtype, dims = dtype_of(datatype), _checked(shape)
    if datatype not in FIELDS:
        raise FrameError("", f"datatype {datatype} has no typed contents; send raw_input_contents")
    values: Sequence[Any] = getattr(contents, FIELDS[datatype])
    if len(values) != prod(dims):
        raise FrameError(
            "", f"holds {len(values)} values in {FIELDS[datatype]} where shape {list(dims)} takes {prod(dims)}"
        )
    if datatype == "BYTES":
        return object_array(values, dims)
    try:
        return np.array(values, dtype=dtype).reshape(dims)
    except OverflowError as error:
        raise FrameError("", f"does not fit {datatype}: {error}") from None


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
        FrameError: *data* holds fewer or more.
    """
    elements: list[bytes] = []
    at = 0
    while at < len(data) and len(elements) < count:
        end = at + 4 + int.from_bytes(data[at : at + 4], "little")
        if end > len(data):
            raise FrameError("", f"BYTES element {len(elements)} ends outside of the data")
        elements.append(data[at + 4 : end])
        at = end
    if len(elements) != count or at != len(data):
        raise FrameError("", f"holds {len(elements)} BYTES elements and {len(data) - at} bytes more, not {count}")
    return elements


def _checked(shape: Sequence[int]) -> tuple[int, ...]:
    dims = tuple(shape)
    if any(size < 0 for size in dims):
        raise FrameError("", f"shape {list(dims)} has a negative dimension")
    return dims
