"""Stored lists of a declared length to columns and back, and what no column can hold to the store's own messages."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from predmesh.features.v1.stored_value_pb2 import StoredValue
from predmesh_bundle.read_plan import FeaturePlan, FeatureType
from predmesh_frame.columns import object_array

from predmesh_features.domain import Array, States, Status
from predmesh_features.lookup_plan import DATA_TYPES
from predmesh_features.stored_values import (
    FIELDS,
    MICROS,
    NULL_SECONDS,
    Stored,
    StoredValueError,
    check_32_bits,
    in_micros,
    parsed,
)

_ELEMENTS = {FeatureType.FLOAT: "<f4", FeatureType.DOUBLE: "<f8"}


def decode_lists(feature: FeaturePlan, values: Stored) -> tuple[Array, States]:
    """(values, length) elements and statuses, as `decode` of single values.

    Raises:
        StoredValueError: a value is no list of *feature*'s type and length, or has a null in it.
    """
    found = _decode_packed(feature, values) if feature.type in _ELEMENTS and all(values) else None
    return found or _one_by_one(feature, values)


def _decode_packed(feature: FeaturePlan, values: Stored) -> tuple[Array, States] | None:
    head, record = _packed_layout(feature.type, feature.stored_as, feature.row_shape[0])
    joined = b"".join(values)  # type: ignore[arg-type]
    if len(joined) != len(values) * record.itemsize:
        return None
    records = np.frombuffer(joined, dtype=record)
    if (records["head"] != head).any():
        return None
    return records["elements"], np.full(len(values), Status.PRESENT, dtype=np.uint8)


@functools.lru_cache(maxsize=1024)
def _packed_layout(type: FeatureType, field: str, length: int) -> tuple[Array, np.dtype[Any]]:
    """What stands before the elements of every list, and the two together."""
    message = StoredValue()
    getattr(message, field).val.extend([0.0] * length)
    elements = np.dtype((_ELEMENTS[type], (length,)))
    head = np.frombuffer(message.SerializeToString()[: -elements.itemsize], dtype=np.uint8)
    return head, np.dtype([("head", "u1", (len(head),)), ("elements", elements)])


def _one_by_one(feature: FeaturePlan, values: Stored) -> tuple[Array, States]:
    type, (length,) = DATA_TYPES[feature.type], feature.row_shape
    fields = [each.replace("_val", "_list_val") for each in FIELDS[feature.type]]
    lists, states = [], []
    for index, value in enumerate(values):
        field, message = parsed(index, value)
        if isinstance(field, Status):
            lists.append([type.empty] * length)
            states.append(field)
            continue
        if field not in fields:
            raise StoredValueError(index, f"is stored as {field}")
        found = getattr(message, field).val
        if len(found) != length:
            raise StoredValueError(index, f"holds {len(found)} values where its vector_length is {length}")
        lists.append(_fitted(feature.type, index, found))
        states.append(Status.PRESENT)
    return _table(feature, lists), np.array(states, dtype=np.uint8)


def _fitted(type: FeatureType, index: int, found: Sequence[Any]) -> list[Any]:
    if type is FeatureType.TIMESTAMP:
        if NULL_SECONDS in found:
            raise StoredValueError(index, "has a null among its times, which no column can hold")
        return [in_micros(index, seconds) for seconds in found]
    if type is FeatureType.INT32:
        check_32_bits(index, found)
    return list(found)


def _table(feature: FeaturePlan, lists: Sequence[Sequence[Any]]) -> Array:
    dtype, shape = DATA_TYPES[feature.type].numpy, (len(lists), *feature.row_shape)
    if dtype.hasobject:
        return object_array([element for each in lists for element in each], shape)
    with np.errstate(over="ignore"):
        return np.array(lists, dtype=np.float64 if dtype.kind == "f" else dtype).astype(dtype).reshape(shape)


def decode_messages(field: str, values: Stored) -> tuple[list[StoredValue], States]:
    """The messages and statuses of *values*, which *field* holds; an empty message where there is no value.

    Raises:
        StoredValueError: another field holds a value.
    """
    messages, states = [], []
    for index, value in enumerate(values):
        found, message = parsed(index, value)
        if isinstance(found, Status):
            state = found
        elif found != field:
            raise StoredValueError(index, f"is stored as {found}")
        elif field == "zoned_timestamp_val" and message.zoned_timestamp_val.unix_timestamp == NULL_SECONDS:
            message, state = StoredValue(), Status.NULL
        else:
            state = Status.PRESENT
        messages.append(message)
        states.append(state)
    return messages, np.array(states, dtype=np.uint8)


def encode_list(feature: FeaturePlan, value: Sequence[Any] | None) -> bytes:
    """One list as Feast stores it; None is null, timestamps come in microseconds."""
    if value is None:
        return b""
    message = StoredValue()
    elements = [each // MICROS for each in value] if feature.type is FeatureType.TIMESTAMP else value
    getattr(message, feature.stored_as).val.extend(elements)
    return message.SerializeToString()
