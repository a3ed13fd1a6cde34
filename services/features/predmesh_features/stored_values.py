"""Stored single values to columns and back: whole columns where the bytes are as expected, one by one elsewhere."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from predmesh.features.v1.stored_value_pb2 import StoredValue
from predmesh_bundle.read_plan import FeaturePlan, FeatureType
from predmesh_frame.columns import object_array

from predmesh_features.domain import NEVER, Array, States, Status
from predmesh_features.lookup_plan import DATA_TYPES

Stored = Sequence[bytes | None]
"""Values as the store gives them: None where there is no such field, no bytes where Feast wrote null."""

MICROS = 1_000_000
NULL_SECONDS = int(np.iinfo(np.int64).min)
"""How Feast writes a null among timestamps."""
FAR_SECONDS = int(np.iinfo(np.int64).max) // MICROS
"""Times as far from 1970 as this do not fit 64 bits of microseconds."""

_LATEST = int(np.iinfo(np.int64).max)
_ABSENT_TAG, _NULL_TAG = 0x06, 0x07  # Wire types that protobuf has not: no field begins so.
_VARINT_BYTES = 11  # One byte of tag and at most ten of a number.
_WORD_BYTES = 8
_FEW = 12  # So many values are read faster one by one than by setting up numpy.

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
FIELDS = {
    FeatureType.BYTES: ("bytes_val",),
    FeatureType.STRING: ("string_val", "json_val", "uuid_val", "time_uuid_val", "decimal_val"),
    FeatureType.INT32: ("int32_val", "int64_val"),
    FeatureType.INT64: ("int64_val", "int32_val"),
    FeatureType.DOUBLE: ("double_val", "float_val", "int64_val", "int32_val"),
    FeatureType.FLOAT: ("float_val", "double_val", "int64_val", "int32_val"),
    FeatureType.BOOL: ("bool_val",),
    FeatureType.TIMESTAMP: ("unix_timestamp_val",),
}
"""Fields of a message that hold a value of a type, or one that becomes it; Feast writes the first."""


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


_Decoded = tuple[Array, States] | None


def _fixed(tag: int, element: str) -> Callable[[Stored], _Decoded]:
    """Values of one length: records side by side."""
    record = np.dtype([("tag", "u1"), ("value", element)])
    nothing = np.zeros((), dtype=record).tobytes()[1:]
    blanks = {None: bytes([_ABSENT_TAG]) + nothing, b"": bytes([_NULL_TAG]) + nothing}
    states_of = _states_of(tag)

    def decode_fixed(values: Stored) -> _Decoded:
        size = len(values) * record.itemsize
        try:
            joined = b"".join(values)  # type: ignore[arg-type]
        except TypeError:
            joined = b""
        if len(joined) != size:
            joined = b"".join(_without_blanks(values, blanks))
            if len(joined) != size:
                return None
        records = np.frombuffer(joined, dtype=record)
        states = states_of[records["tag"]]
        return (records["value"], states) if states.all() else None

    return decode_fixed


_NEVER_MORE = 1
_MORE = np.array(
    [_NEVER_MORE] * 2
    + [sum(0x80 << 8 * place for place in range(size - 2)) for size in range(2, _WORD_BYTES + 1)]
    + [_NEVER_MORE],
    dtype="<u8",
)
"""The bits that say that more follows, in the digits of a value of so many bytes, tag included; what no digits have
where a word holds no such value."""
_HALVES = tuple(
    (np.uint64(low), np.uint64(high), np.uint64(shift))
    for low, high, shift in (
        (0x007F007F007F007F, 0x7F007F007F00, 1),
        (0x3FFF00003FFF, 0x3FFF00003FFF0000, 2),
        (0x0FFFFFFF, 0x0FFFFFFF00000000, 4),
    )
)
"""What moves next to what stays, so that 7, then 14, then 28 bits stand side by side."""


def _varint(tag: int, finish: Callable[[Array, States], Array | None]) -> Callable[[Stored], _Decoded]:
    """Numbers of seven bits a byte, the lowest first; each byte but the last has its highest bit set."""
    blanks = {None: bytes([_ABSENT_TAG, 0]), b"": bytes([_NULL_TAG, 0])}
    states_of = _states_of(tag)

    def decode_few(values: Stored) -> _Decoded:
        numbers, states = [], []
        for value in values:
            number, state = 0, Status.PRESENT
            if not value:
                state = Status.NOT_FOUND if value is None else Status.NULL
            elif value[0] != tag or not 1 < len(value) <= _VARINT_BYTES or value[-1] > 0x7F:
                return None
            else:
                for digit in value[:0:-1]:
                    number = number << 7 | digit & 0x7F
                # Whatever stands before the last byte must say that more follows.
                if len(value) > 2 and min(value[1:-1]) < 0x80:
                    return None
            numbers.append(number & 0xFFFFFFFFFFFFFFFF)
            states.append(state)
        return _finished(np.array(numbers, dtype=np.uint64), np.array(states, dtype=np.uint8))

    def decode_many(values: Stored) -> _Decoded:
        filled = _without_blanks(values, blanks)
        sizes = np.fromiter(map(len, filled), dtype=np.intp, count=len(filled))
        return decode_words(filled, sizes) or (decode_wide(filled, sizes) if sizes.min() > 1 else None)

    def decode_words(filled: Sequence[bytes], sizes: Array) -> _Decoded:
        words = np.array(filled, dtype=f"S{_WORD_BYTES}").view("<u8")
        states = states_of[words & 0xFF]
        digits = words >> 8
        if not states.all() or ((digits & 0x80808080808080) != _MORE.take(sizes, mode="clip")).any():
            return None
        digits &= 0x7F7F7F7F7F7F7F
        for low, high, shift in _HALVES:
            digits = digits & low | (digits & high) >> shift
        return _finished(digits, states)

    def decode_wide(filled: Sequence[bytes], sizes: Array) -> _Decoded:
        joined = np.frombuffer(b"".join(filled), dtype=np.uint8)
        ends = sizes.cumsum()
        starts = ends - sizes
        states = states_of[joined[starts]]
        more = np.ones(len(joined), dtype=np.bool_)
        more[starts] = more[ends - 1] = False
        widest = int(sizes.max())
        if widest > _VARINT_BYTES or not states.all() or ((joined >= 0x80) != more).any():
            return None
        digits = (joined & 0x7F).astype(np.uint64)
        digits[starts] = 0
        numbers = np.zeros(len(filled), dtype=np.uint64)
        for place in range(1, widest):
            # A number that has ended points at its own tag, which is 0 by now.
            numbers |= digits[np.where(sizes > place, starts + place, starts)] << np.uint64(7 * (place - 1))
        return _finished(numbers, states)

    def _finished(numbers: Array, states: States) -> _Decoded:
        found = finish(numbers.view(np.int64), states)
        return None if found is None else (found, states)

    return lambda values: decode_few(values) if len(values) <= _FEW else decode_many(values)


def _seconds(numbers: Array, states: States) -> Array | None:
    null = numbers == NULL_SECONDS
    states[null & (states == Status.PRESENT)] = Status.NULL
    known = np.where(null, 0, numbers)
    return known * MICROS if (np.abs(known) < FAR_SECONDS).all() else None


def _sized(tag: int, read: Callable[[bytes], Any]) -> Callable[[Stored], _Decoded]:
    """Values of any length below 128, which follows the tag."""
    blanks = {None: bytes([_ABSENT_TAG, 0]), b"": bytes([_NULL_TAG, 0])}
    states_of = _states_of(tag)
    rest = operator.itemgetter(slice(2, None))

    def decode_sized(values: Stored) -> _Decoded:
        filled = _without_blanks(values, blanks)
        heads = np.array(filled, dtype="S2").view("<u2")
        sizes = np.fromiter(map(len, filled), dtype=np.intp, count=len(filled)) - 2
        states = states_of[heads & 0xFF]
        if not states.all() or sizes.max() >= 0x80 or (heads >> 8 != sizes).any():
            return None
        return object_array(list(map(read, map(rest, filled))), sizes.shape), states

    return decode_sized


def _without_blanks(values: Stored, blanks: dict[bytes | None, bytes]) -> Sequence[bytes]:
    if all(values):
        return values  # type: ignore[return-value]
    return [value or blanks[value] for value in values]


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
    field, message = parsed(index, value)
    if isinstance(field, Status):
        return DATA_TYPES[type].empty, field
    if field not in FIELDS[type]:
        raise StoredValueError(index, f"is stored as {field}")
    found = getattr(message, field)
    if type is FeatureType.TIMESTAMP:
        return (0, Status.NULL) if found == NULL_SECONDS else (in_micros(index, found), Status.PRESENT)
    if type is FeatureType.INT32:
        check_32_bits(index, (found,))
    return found, Status.PRESENT


def parsed(index: int, value: bytes | None) -> tuple[str | Status, StoredValue]:
    """The field that holds the value at *index*, or the status of what is none; and its message.

    Raises:
        StoredValueError: it is no message of Feast's.
    """
    if not value:
        return Status.NOT_FOUND if value is None else Status.NULL, StoredValue()
    try:
        message = StoredValue.FromString(value)
    except DecodeError:
        raise StoredValueError(index, "is no value of Feast") from None
    field = message.WhichOneof("value")
    if field == "null_val":
        return Status.NULL, StoredValue()
    if field is None:
        raise StoredValueError(index, "is stored as another type")
    return field, message


def in_micros(index: int, seconds: int) -> int:
    """A stored time in microseconds; raises StoredValueError where 64 bits do not hold it."""
    if abs(seconds) >= FAR_SECONDS:
        raise StoredValueError(index, "lies outside the times that 64 bits of microseconds hold")
    return seconds * MICROS


def check_32_bits(index: int, values: Iterable[int]) -> None:
    """Raise StoredValueError unless all *values* fit."""
    if not all(-(2**31) <= value < 2**31 for value in values):
        raise StoredValueError(index, "is too large for 32 bits")


_DECODERS: dict[FeatureType, Callable[[Stored], _Decoded]] = {
    FeatureType.FLOAT: _fixed(_TAGS[FeatureType.FLOAT], "<f4"),
    FeatureType.DOUBLE: _fixed(_TAGS[FeatureType.DOUBLE], "<f8"),
    FeatureType.INT32: _varint(_TAGS[FeatureType.INT32], lambda numbers, _: numbers.astype(np.int32)),
    FeatureType.INT64: _varint(_TAGS[FeatureType.INT64], lambda numbers, _: numbers),
    FeatureType.BOOL: _varint(_TAGS[FeatureType.BOOL], lambda numbers, _: numbers != 0),
    FeatureType.TIMESTAMP: _varint(_TAGS[FeatureType.TIMESTAMP], _seconds),
    FeatureType.STRING: _sized(_TAGS[FeatureType.STRING], bytes.decode),
    FeatureType.BYTES: _sized(_TAGS[FeatureType.BYTES], bytes),
}


def decode_stamps(values: Stored) -> Array:
    """Event times in microseconds; `NEVER` where there is none."""
    if values and values.count(values[0]) == len(values):  # Written together, as a view mostly is.
        return np.full(len(values), _stamp_micros(values[0]), dtype=np.int64)
    return np.fromiter(map(_stamp_micros, values), dtype=np.int64, count=len(values))


@functools.lru_cache(maxsize=65_536)  # The same times come again and again.
def _stamp_micros(value: bytes | None) -> int:
    return int(NEVER) if value is None else max(min(stamp_nanos(value) // 1000, _LATEST), -_LATEST)


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
        value //= MICROS
    return StoredValue(**{feature.stored_as or FIELDS[feature.type][0]: value}).SerializeToString()
