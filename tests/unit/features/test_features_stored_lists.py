"""Stored lists: whole columns and single lists decode alike, and what no column can hold is told."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from predmesh.features.v1.stored_value_pb2 import StoredValue
from predmesh_bundle.read_plan import FeaturePlan, FeatureType
from predmesh_features.domain import Status
from predmesh_features.stored_lists import _one_by_one, decode_lists, decode_messages, encode_list
from predmesh_features.stored_values import FIELDS, StoredValueError

ELEMENTS: dict[FeatureType, st.SearchStrategy[Any]] = {
    FeatureType.BOOL: st.booleans(),
    FeatureType.INT32: st.integers(-(2**31), 2**31 - 1),
    FeatureType.INT64: st.integers(-(2**63), 2**63 - 1),
    FeatureType.FLOAT: st.floats(width=32),
    FeatureType.DOUBLE: st.floats(),
    FeatureType.STRING: st.text(),
    FeatureType.BYTES: st.binary(),
    FeatureType.TIMESTAMP: st.integers(-(10**10), 10**11).map(lambda seconds: seconds * 1_000_000),
}


def feature(type: FeatureType, length: int = 3) -> FeaturePlan:
    return FeaturePlan(name="x", type=type, stored_as=FIELDS[type][0].replace("_val", "_list_val"), row_shape=(length,))


def bits(value: Any) -> Any:
    return struct.pack("<d", value) if isinstance(value, float) else value


@pytest.mark.parametrize("type", FeatureType)
@given(data=st.data())
def test_what_was_written_is_read(type: FeatureType, data: st.DataObject) -> None:
    plan = feature(type)
    rows = data.draw(st.lists(st.none() | st.lists(ELEMENTS[type], min_size=3, max_size=3), min_size=1, max_size=4))
    stored = [encode_list(plan, row) for row in rows]
    for reading in (decode_lists, _one_by_one):
        found, states = reading(plan, stored)
        assert found.shape == (len(rows), 3)
        assert states.tolist() == [Status.NULL if row is None else Status.PRESENT for row in rows]
        for got, row in zip(found.tolist(), rows, strict=True):
            assert row is None or list(map(bits, got)) == list(map(bits, row))


@pytest.mark.parametrize(
    ("type", "written", "reason"),
    [
        (FeatureType.DOUBLE, {"double_list_val": [1.0]}, "holds 1 values where its vector_length is 3"),
        (FeatureType.DOUBLE, {"double_list_val": []}, "holds 0 values where its vector_length is 3"),
        (FeatureType.FLOAT, {"string_list_val": ["a"] * 3}, "is stored as string_list_val"),
        (FeatureType.INT32, {"int64_list_val": [1, 2, 2**31]}, "is too large for 32 bits"),
        (FeatureType.TIMESTAMP, {"unix_timestamp_list_val": [1, -(2**63), 3]}, "has a null among its times"),
        (FeatureType.TIMESTAMP, {"unix_timestamp_list_val": [1, 2, 2**62]}, "lies outside"),
    ],
    ids=["short", "empty", "other-type", "wide", "null-inside", "far"],
)
def test_a_list_that_is_no_row_of_the_column_is_told_with_its_place(
    type: FeatureType, written: dict[str, list[Any]], reason: str
) -> None:
    message = StoredValue()
    for field, values in written.items():
        getattr(message, field).SetInParent()
        getattr(message, field).val.extend(values)
    with pytest.raises(StoredValueError) as caught:
        decode_lists(feature(type), [None, b"", message.SerializeToString()])
    assert caught.value.index == 2
    assert caught.value.reason.startswith(reason)


def test_a_list_of_a_near_type_becomes_the_features_own() -> None:
    message = StoredValue()
    message.double_list_val.val.extend([0.5, 1e300, math.nan])
    found, _ = decode_lists(feature(FeatureType.FLOAT), [message.SerializeToString()])
    assert found.tolist()[0][:2] == [0.5, math.inf]


def test_messages_are_given_as_they_are_and_nulls_and_gaps_as_empty_ones() -> None:
    tags = StoredValue()
    tags.string_list_val.SetInParent()
    messages, states = decode_messages("string_list_val", [tags.SerializeToString(), b"", None])
    assert (messages, states.tolist()) == ([tags, StoredValue(), StoredValue()], [1, 2, 3])
    with pytest.raises(StoredValueError, match="is stored as string_list_val"):
        decode_messages("map_val", [tags.SerializeToString()])


def test_a_zoned_time_that_is_null_is_null() -> None:
    nothing = StoredValue()
    nothing.zoned_timestamp_val.unix_timestamp = -(2**63)
    messages, states = decode_messages("zoned_timestamp_val", [nothing.SerializeToString()])
    assert (messages, states.tolist()) == ([StoredValue()], [Status.NULL])
