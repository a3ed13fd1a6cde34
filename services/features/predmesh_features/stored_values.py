"""Stored values to columns and back: whole columns at a time where the bytes are as expected, one by one elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from predmesh.features.v1.stored_value_pb2 import StoredValue
from predmesh_bundle.read_plan import FeaturePlan, FeatureType

from predmesh_features.domain import NEVER, Array, States, Status
from predmesh_features.lookup_plan import DATA_TYPES

Stored = Sequence[bytes | None]
"""Values as the store gives them: None where there is no such field, no bytes where Feast wrote null."""

_MICROS = 1_000_000
_LATEST = int(np.iinfo(np.int64).max)
_NULL_SECONDS = np.iinfo(np.int64).min  # How Feast writes a null among timestamps.
_ABSENT_TAG, _NULL_TAG = 0xFF, 0xFE  # No protobuf field of a value begins so.
_VARINT_BYTES = 11  # One byte of tag and at most ten of a number.

# First byte of a value: its field number and wire type.
_TAGS = {
    FeatureType.BYTES: 0x0A,
    FeatureType.STRING: 0x12,
    FeatureType.INT32: 0x18,
    FeatureType.INT64: 0x20,
    FeatureType.DOUBLE: 0x29,
    FeatureType.FLOAT: 0x35,
    FeatureType.BOOL: 0x38,
    FeatureType.TIMESTAMP: 0x40,
}
_FIELDS = {
    FeatureType.BYTES: ("bytes_val",),
    FeatureType.STRING: ("string_val", "json_val", "uuid_val", "time_uuid_val", "decimal_val"),
    FeatureType.INT32: ("int32_val", "int64_val"),
    FeatureType.INT64: ("int64_val", "int32_val"),
    FeatureType.DOUBLE: ("double_val", "float_val", "int64_val", "int32_val"),
    FeatureType.FLOAT: ("float_val", "double_val", "int64_val", "int32_val"),
    FeatureType.BOOL: ("bool_val",),
    FeatureType.TIMESTAMP: ("unix_timestamp_val",),
}


class StoredValueError(ValueError):
    """A stored value that is not of its feature's type.

    Attributes:
        index: position among the decoded values.
        reason: what it is instead.
    """

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"value {index} {reason}")
        self.index = index
        self.reason = reason


def decode(type: FeatureType, values: Stored) -> tuple[Array, States]:
    """Values and statuses (PRESENT, NULL or NOT_FOUND), as many as *values*; what stands where none is means nothing.

    Raises:
        StoredValueError: a value is not of *type*, nor of one that becomes it.
    """
    try:
        return (_DECODERS[type](values) if values else None) or _one_by_one(type, values)
    except UnicodeDecodeError:
        return _one_by_one(type, values)


def _fixed(tag: int, element: str) -> Callable[[Stored], tuple[Array, States] | None]:
    record = np.dtype([("tag", "u1"), ("value", element)])
    nothing = np.zeros((), dtype=record).tobytes()[1:]
    blank = {None: bytes([_ABSENT_TAG]) + nothing, b"": bytes([_NULL_TAG]) + nothing}
    states_of = _states_of(tag)

    def decode_fixed(values: Stored) -> tuple[Array, States] | None:
        joined = b"".join([value or blank[value] for value in values])
        if len(joined) != len(values) * record.itemsize:
            return None
        records = np.frombuffer(joined, dtype=record)
        states = states_of[records["tag"]]
        return (records["value"], states) if states.all() else None

    return decode_fixed


def _varint(tag: int, finish: Callable[[Array, States], Array | None]) -> Callable[[Stored], Any]:
    blank = {None: bytes([_ABSENT_TAG]), b"": bytes([_NULL_TAG])}
    states_of = _states_of(tag)
    shifts = np.arange(0, 70, 7, dtype=np.uint64)

    def decode_varint(values: Stored) -> tuple[Array, States] | None:
        joined = b"".join([(value or blank[value]).ljust(_VARINT_BYTES, b"\0") for value in values])
        if len(joined) != len(values) * _VARINT_BYTES:
            return None
        table = np.frombuffer(joined, dtype=np.uint8).reshape(len(values), _VARINT_BYTES)
        states = states_of[table[:, 0]]
        digits = table[:, 1:]
        # A digit must follow one that says so, or the bytes hold more than one number.
        if not states.all() or ((digits[:, 1:] != 0) & (digits[:, :-1] < 0x80)).any():
            return None
        numbers = np.bitwise_or.reduce((digits & 0x7F).astype(np.uint64) << shifts, axis=1).view(np.int64)
        finished = finish(numbers, states)
        return None if finished is None else (finished, states)

    return decode_varint


def _seconds(numbers: Array, states: States) -> Array | None:
    null = numbers == _NULL_SECONDS
    states[null & (states == Status.PRESENT)] = Status.NULL
    known = np.where(null, 0, numbers)
    return known * _MICROS if (np.abs(known) < np.iinfo(np.int64).max // _MICROS).all() else None


def _sized(type: FeatureType, read: Callable[[bytes], Any]) -> Callable[[Stored], Any]:
    tag = _TAGS[type]

    def decode_sized(values: Stored) -> tuple[Array, States] | None:
        found = np.empty(len(values), dtype=object)
        states = np.full(len(values), Status.PRESENT, dtype=np.uint8)
        for index, value in enumerate(values):
            if not value:
                found[index] = DATA_TYPES[type].empty
                states[index] = Status.NOT_FOUND if value is None else Status.NULL
            elif value[0] == tag and len(value) > 1 and value[1] < 0x80 and value[1] == len(value) - 2:
                found[index] = read(value[2:])
            else:
                found[index], states[index] = _one(type, index, value)
        return found, states

    return decode_sized


def _states_of(tag: int) -> States:
    """Status by first byte; 0 where the byte is none of a value of this kind."""
    states = np.zeros(256, dtype=np.uint8)
    states[tag], states[_NULL_TAG], states[_ABSENT_TAG] = Status.PRESENT, Status.NULL, Status.NOT_FOUND
    return states


def _one_by_one(type: FeatureType, values: Stored) -> tuple[Array, States]:
    pairs = [_one(type, index, value) for index, value in enumerate(values)]
    array = np.empty(len(values), dtype=DATA_TYPES[type].numpy)
    with np.errstate(over="ignore"):  # A double too large for a float becomes infinite.
        array[:] = [value for value, _ in pairs]
    return array, np.array([status for _, status in pairs], dtype=np.uint8)


def _one(type: FeatureType, index: int, value: bytes | None) -> tuple[Any, Status]:
    empty = DATA_TYPES[type].empty
    if not value:
        return empty, Status.NOT_FOUND if value is None else Status.NULL
    try:
        message = StoredValue.FromString(value)
    except DecodeError:
        raise StoredValueError(index, "is no value of Feast") from None
    field = message.WhichOneof("value")
    if field == "null_val":
        return empty, Status.NULL
    if field not in _FIELDS[type]:
        raise StoredValueError(index, f"is stored as {field or 'another type'}")
    found = getattr(message, field)
    if type is FeatureType.TIMESTAMP:
        return _instant(index, found)
    if type is FeatureType.INT32 and not -(2**31) <= found < 2**31:
        raise StoredValueError(index, "is too large for 32 bits")
    return found, Status.PRESENT


def _instant(index: int, seconds: int) -> tuple[int, Status]:
    if seconds == _NULL_SECONDS:
        return 0, Status.NULL
    if abs(seconds) >= np.iinfo(np.int64).max // _MICROS:
        raise StoredValueError(index, "lies outside the times that 64 bits of microseconds hold")
    return seconds * _MICROS, Status.PRESENT


_DECODERS: dict[FeatureType, Callable[[Stored], tuple[Array, States] | None]] = {
    FeatureType.FLOAT: _fixed(_TAGS[FeatureType.FLOAT], "<f4"),
    FeatureType.DOUBLE: _fixed(_TAGS[FeatureType.DOUBLE], "<f8"),
    FeatureType.INT32: _varint(_TAGS[FeatureType.INT32], lambda numbers, _: numbers.astype(np.int32)),
    FeatureType.INT64: _varint(_TAGS[FeatureType.INT64], lambda numbers, _: numbers),
    FeatureType.BOOL: _varint(_TAGS[FeatureType.BOOL], lambda numbers, _: numbers != 0),
    FeatureType.TIMESTAMP: _varint(_TAGS[FeatureType.TIMESTAMP], _seconds),
    FeatureType.STRING: _sized(FeatureType.STRING, bytes.decode),
    FeatureType.BYTES: _sized(FeatureType.BYTES, bytes),
}


def decode_stamps(values: Stored) -> Array:
    """Event times in microseconds; `NEVER` where there is none."""
    known: dict[bytes | None, int] = {None: int(NEVER)}
    for value in set(values) - known.keys():
        known[value] = max(min(stamp_nanos(value) // 1000, _LATEST), -_LATEST)
    return np.array([known[value] for value in values], dtype=np.int64)


def stamp_nanos(value: bytes | None) -> int:
    """Nanoseconds of a stored event time; 0 where there is none. The start of 1970 is stored as no bytes."""
    try:
        stamp = Timestamp.FromString(value or b"")
    except DecodeError:
        return 0
    return stamp.seconds * 1_000_000_000 + stamp.nanos


def encode_stamp(nanos: int) -> bytes:
    """An event time as Feast stores it."""
    return Timestamp(seconds=nanos // 1_000_000_000, nanos=nanos % 1_000_000_000).SerializeToString()


def encode(feature: FeaturePlan, value: Any) -> bytes:
    """One value as Feast stores it; None is null, timestamps come in microseconds."""
    if value is None:
        return b""
    if feature.type is FeatureType.TIMESTAMP:
        value //= _MICROS
    return StoredValue(**{feature.stored_as or _FIELDS[feature.type][0]: value}).SerializeToString()
