"""Compares what our feature reader says with what Feast's own read says, value for value."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from predmesh.features.v1.stored_value_pb2 import StoredValue
from predmesh_features.domain import FeatureColumn, Lookup, Status, StoredFeature
from predmesh_frame.columns import DataType

from predmesh_testing.feast import Message
from predmesh_testing.generated_values import NULL_SECONDS

MOST_TOLD = 5
"""Differences that are told of each feature."""


def differences(lookup: Lookup, theirs: Mapping[str, Sequence[Message]]) -> list[str]:
    """What differs, the first few of each feature; nothing when every value is the same, floats by their bits.

    All entities are written, and nothing is too old: a value is there, or null in both.
    """
    found: list[str] = []
    for feature in lookup.features:
        found += _told(feature.name, feature.statuses.tolist(), _ours(feature), map(_plain, theirs[feature.name]))
    for stored in lookup.stored:
        expected = (_message_bytes(each) for each in theirs[stored.name])
        found += _told(stored.name, stored.statuses.tolist(), _stored(stored), expected)
    answered = {*lookup.order, *(stored.name for stored in lookup.stored)}
    return [*found, *(f"{name} is not answered with" for name in sorted(theirs.keys() - answered))]


def comparable(theirs: Mapping[str, Sequence[Message]]) -> dict[str, list[Any]]:
    """What Feast says, floats by their bits: NaN equals itself."""
    return {name: [each and (each[0], _bits(each[1])) for each in messages] for name, messages in theirs.items()}


def _told(name: str, states: Sequence[int], ours: Sequence[Any], theirs: Iterator[Any]) -> list[str]:
    expected = list(theirs)
    told = [f"{name}: {len(ours)} values, not {len(expected)}"] if len(ours) != len(expected) else []
    for row, (state, value, wanted) in enumerate(zip(states, ours, expected, strict=False)):
        wanted_state = Status.NULL if wanted is None else Status.PRESENT
        if value != wanted or state != wanted_state:
            told.append(f"{name}[{row}]: {value!r:.80} ({Status(state).name}), not {wanted!r:.80}")
    return told[:MOST_TOLD]


def _ours(feature: FeatureColumn) -> list[Any]:
    values = feature.column.to_list()
    return [_bits(value) for value in values] if feature.column.type in (DataType.FLOAT, DataType.DOUBLE) else values


def _plain(message: Message) -> Any:
    if message is None or message == ("unix_timestamp_val", NULL_SECONDS):
        return None
    field, value = message
    if isinstance(value, bytes) and field != "bytes_val":
        value = list(getattr(StoredValue.FromString(value), field).val)
    if field.startswith("unix_timestamp"):
        return [each * 1_000_000 for each in value] if isinstance(value, list) else value * 1_000_000
    return _bits(value)


def _bits(value: Any) -> Any:
    if isinstance(value, list):
        return [_bits(each) for each in value]
    return struct.pack("<d", value) if isinstance(value, float) else value


def _stored(feature: StoredFeature) -> list[bytes | None]:
    pairs = zip(feature.messages, feature.statuses.tolist(), strict=True)
    return [_deterministic(each) if state == Status.PRESENT else None for each, state in pairs]


def _message_bytes(message: Message) -> bytes | None:
    if message is None:
        return None
    field, value = message
    return _deterministic(StoredValue.FromString(value) if isinstance(value, bytes) else StoredValue(**{field: value}))


def _deterministic(message: StoredValue) -> bytes:
    return message.SerializeToString(deterministic=True)
