"""Keys of the store: Feast's bytes, and each key once."""

from __future__ import annotations

import numpy as np
import pytest
from predmesh_bundle.read_plan import FeatureType, JoinKey
from predmesh_features.entity_keys import check_keys, entity_keys
from predmesh_features.feast_layout import ENTITYLESS, feature_field, key_order, key_prefix, stamp_field
from predmesh_features.lookup_plan import KeyGroup
from predmesh_frame.columns import Column, DataType
from predmesh_frame.frames import Frame
from predmesh_rpc.errors import InvalidInput


def group(*keys: JoinKey) -> KeyGroup:
    ordered = key_order(keys)
    return KeyGroup(ordered, key_prefix(ordered), b"project", (), ())


NUMBER = JoinKey(name="b_number", type=FeatureType.INT64, column="number")
SMALL = JoinKey(name="small", type=FeatureType.INT32, column="small")
NAME = JoinKey(name="a_name", type=FeatureType.STRING, column="name")


def test_a_key_has_feasts_own_bytes() -> None:
    frame = Frame.of({"number": Column.of(DataType.INT64, [-2]), "name": Column.of(DataType.STRING, ["é"])})
    # As feast.infra.key_encoding_utils.serialize_entity_key writes it, version 3, and the project.
    expected = (
        b"\x02\0\0\0\x02\0\0\0\x06\0\0\0a_name\x02\0\0\0\x08\0\0\0b_number"
        b"\x02\0\0\0\x02\0\0\0\xc3\xa9\x04\0\0\0\x08\0\0\0\xfe\xff\xff\xff\xff\xff\xff\xffproject"
    )
    assert entity_keys(group(NUMBER, NAME), frame).keys == [expected]


@pytest.mark.parametrize("size", [0, 255, 256, 70_000])
def test_a_text_of_any_size_is_a_key(size: int) -> None:
    frame = Frame.of({"name": Column.of(DataType.STRING, ["x" * size])})
    (key,) = entity_keys(group(NAME), frame).keys
    assert key.endswith(b"\x02\0\0\0" + size.to_bytes(4, "little") + b"x" * size + b"project")


def test_fields_have_feasts_own_names() -> None:
    assert feature_field("weather", "wind") == bytes.fromhex("3508292c")
    assert stamp_field("weather") == b"_ts:weather"


def test_each_key_comes_once_and_every_row_finds_its_own() -> None:
    frame = Frame.of({"number": Column.of(DataType.INT64, [5, 7, 5, None, 7])})
    found = entity_keys(group(NUMBER), frame)
    assert len(found.keys) == 2
    np.testing.assert_array_equal(found.rows, [0, 1, 0, 2, 1])


def test_a_row_without_one_of_its_keys_has_none() -> None:
    frame = Frame.of({"number": Column.of(DataType.INT64, [1, None]), "name": Column.of(DataType.STRING, [None, "x"])})
    found = entity_keys(group(NUMBER, NAME), frame)
    assert found.keys == []
    np.testing.assert_array_equal(found.rows, [0, 0])


def test_a_view_without_entities_has_one_key() -> None:
    assert group().join_keys == ENTITYLESS
    found = entity_keys(group(), Frame(3))
    assert len(found.keys) == 1
    np.testing.assert_array_equal(found.rows, [0, 0, 0])


@pytest.mark.parametrize(
    ("value", "fits"), [(2**31 - 1, True), (-(2**31), True), (2**31, False), (-(2**31) - 1, False)]
)
def test_a_wide_number_serves_as_a_small_key_when_it_fits(value: int, fits: bool) -> None:
    frame = Frame.of({"small": Column.of(DataType.INT64, [None, value])})
    if fits:
        check_keys(frame, [SMALL])
        assert len(entity_keys(group(SMALL), frame).keys) == 1
        return
    with pytest.raises(InvalidInput):
        check_keys(frame, [SMALL])
