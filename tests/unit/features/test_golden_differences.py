"""The comparison with Feast tells every kind of difference, and nothing of what is the same."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from predmesh.features.v1.stored_value_pb2 import StoredTexts, StoredValue
from predmesh_features.domain import FeatureColumn, Lookup, StoredFeature
from predmesh_frame.columns import Column, DataType
from predmesh_testing.feast import Message
from predmesh_testing.golden import differences

TAGS = StoredValue(string_list_val=StoredTexts(val=["a"]))
SAME: dict[str, list[Message]] = {
    "wind": [("double_val", math.nan), ("double_val", -0.0), None],
    "tags": [("string_list_val", TAGS.SerializeToString()), None, None],
}


def lookup() -> Lookup:
    states = np.array([1, 1, 2], dtype=np.uint8)
    wind = FeatureColumn("wind", "weather", Column.of(DataType.DOUBLE, [math.nan, -0.0, None]), states)
    tags = StoredFeature("tags", [TAGS, StoredValue(), StoredValue()], np.array([1, 2, 2], dtype=np.uint8))
    return Lookup(3, (), (wind,), (tags,), ("wind",), (), np.empty((0, 3)), datetime.now(UTC))


def test_what_is_the_same_is_not_told() -> None:
    assert differences(lookup(), SAME) == []


@pytest.mark.parametrize(
    "other",
    [
        {"wind": [("double_val", math.nan), ("double_val", 0.0), None]},
        {"wind": [None, ("double_val", -0.0), None]},
        {"wind": [("double_val", math.nan), ("double_val", -0.0), ("double_val", 1.0)]},
        {"wind": SAME["wind"][:2]},
        {"tags": [("string_list_val", StoredValue(string_list_val=StoredTexts()).SerializeToString()), None, None]},
        {"more": [None, None, None]},
    ],
    ids=["zero", "null", "value", "rows", "list", "feature"],
)
def test_what_differs_is_told(other: dict[str, Any]) -> None:
    assert len(differences(lookup(), SAME | other)) == 1
