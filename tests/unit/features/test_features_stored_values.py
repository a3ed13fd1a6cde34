"""Stored values: whole columns and single values decode alike, and what is no such value is told."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from predmesh.features.v1.stored_value_pb2 import StoredDoubles, StoredValue
from predmesh_bundle.read_plan import FeaturePlan, FeatureType
from predmesh_features.domain import NEVER, Status
from predmesh_features.stored_values import (
    StoredValueError,
    _one_by_one,
    decode,
    decode_stamps,
    encode,
    encode_stamp,
    stamp_nanos,
)

VALUES: dict[FeatureType, st.SearchStrategy[Any]] = {
    FeatureType.BOOL: st.booleans(),
    FeatureType.INT32: st.integers(-(2**31), 2**31 - 1),
    FeatureType.INT64: st.integers(-(2**63), 2**63 - 1),
    FeatureType.FLOAT: st.floats(width=32),
    FeatureType.DOUBLE: st.floats(),
    FeatureType.STRING: st.text() | st.text(min_size=120, max_size=135),
    FeatureType.BYTES: st.binary() | st.binary(min_size=120, max_size=135),
    FeatureType.TIMESTAMP: st.integers(-(10**10), 10**11).map(lambda seconds: seconds * 1_000_000),
}
ABSENT = object()


def stored(type: FeatureType, values: Sequence[Any]) -> list[bytes | None]:
    feature = FeaturePlan(name="x", type=type)
    return [None if value is ABSENT else encode(feature, value) for value in values]


def state_of(value: Any) -> Status:
    if value is ABSENT:
        return Status.NOT_FOUND
    return Status.NULL if value is None else Status.PRESENT


def bits(value: Any) -> Any:
    return struct.pack("<d", value) if isinstance(value, float) else value


@pytest.mark.parametrize("type", FeatureType)
@given(data=st.data())
def test_what_was_written_is_read(type: FeatureType, data: st.DataObject) -> None:
    values = data.draw(st.lists(VALUES[type] | st.none() | st.just(ABSENT), max_size=8))
    expected = [
        Status.NOT_FOUND if each is ABSENT else Status.NULL if each is None else Status.PRESENT for each in values
    ]
    for reading in (decode, _one_by_one):
        found, states = reading(type, stored(type, values))
        assert states.tolist() == expected
        present = [(got, want) for got, want in zip(found.tolist(), values, strict=True) if want not in (None, ABSENT)]
        assert all(bits(got) == bits(want) for got, want in present)


@pytest.mark.parametrize("type", FeatureType)
@given(data=st.data())
def test_many_values_are_read_as_one_by_one(type: FeatureType, data: st.DataObject) -> None:
    some = st.lists(VALUES[type] | st.none() | st.just(ABSENT), min_size=1, max_size=5)
    small = st.integers(0, 2**14) if type in (FeatureType.INT32, FeatureType.INT64) else VALUES[type]
    values = stored(type, data.draw(some) + data.draw(st.lists(small, min_size=2, max_size=5)) * 7)
    found, states = decode(type, values)
    expected, expected_states = _one_by_one(type, values)
    assert states.tolist() == expected_states.tolist()
    present = states == Status.PRESENT
    assert list(map(bits, found[present].tolist())) == list(map(bits, expected[present].tolist()))


@pytest.mark.parametrize(
    "broken", [b"\x20", b"\x20\x85", b"\x20\x05\x00", b"\x20\x85\x80\x80\x80\x80\x80\x80", b"\x20" + b"\x80" * 10]
)
def test_a_broken_number_among_many_is_told(broken: bytes) -> None:
    with pytest.raises(StoredValueError) as caught:
        decode(FeatureType.INT64, [*stored(FeatureType.INT64, range(20)), broken, b"\x20\x05\x20\x06"])
    assert (caught.value.index, caught.value.reason) == (20, "is no value of Feast")


def test_the_last_of_two_numbers_in_one_value_counts() -> None:
    assert decode(FeatureType.INT64, [b"\x20\x05\x20\x06"] * 20)[0].tolist() == [6] * 20


@pytest.mark.parametrize(
    ("type", "written", "expected"),
    [
        (FeatureType.DOUBLE, StoredValue(float_val=1.5), 1.5),
        (FeatureType.DOUBLE, StoredValue(int64_val=-7), -7.0),
        (FeatureType.FLOAT, StoredValue(double_val=0.1), float(np.float32(0.1))),
        (FeatureType.FLOAT, StoredValue(double_val=1e300), float("inf")),
        (FeatureType.INT64, StoredValue(int32_val=-5), -5),
        (FeatureType.INT32, StoredValue(int64_val=12), 12),
        (FeatureType.STRING, StoredValue(json_val="{}"), "{}"),
        (FeatureType.STRING, StoredValue(decimal_val="1.0"), "1.0"),
    ],
)
def test_a_value_of_a_near_type_becomes_the_features_own(
    type: FeatureType, written: StoredValue, expected: Any
) -> None:
    values = [*stored(type, [None]), written.SerializeToString()]
    found, states = decode(type, values)
    assert found[1] == expected
    assert states.tolist() == [Status.NULL, Status.PRESENT]


@pytest.mark.parametrize(
    ("type", "written", "reason"),
    [
        (FeatureType.FLOAT, StoredValue(string_val="1"), "is stored as string_val"),
        (FeatureType.STRING, StoredValue(int64_val=1), "is stored as int64_val"),
        (FeatureType.BOOL, StoredValue(int64_val=1), "is stored as int64_val"),
        (FeatureType.INT64, StoredValue(double_val=1.0), "is stored as double_val"),
        (FeatureType.INT32, StoredValue(int64_val=2**31), "is too large for 32 bits"),
        (FeatureType.TIMESTAMP, StoredValue(unix_timestamp_val=2**62), "lies outside"),
        (FeatureType.DOUBLE, StoredValue(double_list_val=StoredDoubles(val=[1.0])), "is stored as double_list_val"),
        (FeatureType.DOUBLE, b"\xa2\x06\x00", "is stored as another type"),
        (FeatureType.DOUBLE, b"\x29\x00", "is no value of Feast"),
        (FeatureType.STRING, b"\x12\x02\xff\xfe", "is no value of Feast"),
        (FeatureType.INT64, b"\x20\x05\x20", "is no value of Feast"),
    ],
    ids=str,
)
def test_a_value_of_another_type_is_told_with_its_place(type: FeatureType, written: Any, reason: str) -> None:
    bad = written if isinstance(written, bytes) else written.SerializeToString()
    with pytest.raises(StoredValueError) as caught:
        decode(type, [None, b"", bad])
    assert caught.value.index == 2
    assert caught.value.reason.startswith(reason)


def test_a_null_that_is_written_out_is_null() -> None:
    assert decode(FeatureType.FLOAT, [StoredValue(null_val=0).SerializeToString()])[1].tolist() == [Status.NULL]
    nat = StoredValue(unix_timestamp_val=-(2**63)).SerializeToString()
    assert decode(FeatureType.TIMESTAMP, [nat])[1].tolist() == [Status.NULL]


def test_no_values_decode_to_none() -> None:
    assert all(len(decode(type, [])[0]) == 0 for type in FeatureType)


@given(nanos=st.integers(-(10**18), 4 * 10**18))
def test_an_event_time_is_kept_to_the_microsecond(nanos: int) -> None:
    assert stamp_nanos(encode_stamp(nanos)) == nanos
    assert decode_stamps([encode_stamp(nanos)]).tolist() == [nanos // 1000]


def test_no_event_time_is_never_and_no_bytes_are_the_start_of_1970() -> None:
    assert decode_stamps([None, b""]).tolist() == [NEVER, 0]
    assert [stamp_nanos(value) for value in (None, b"", b"\xff")] == [0, 0, 0]
