"""Names in Feast's Redis layout: one hash an entity, keyed by its join keys and the project; no I/O.

key    = number of join keys, their names in order, their values in that order, the project
fields = murmur3("view:feature") and "_ts:view" for the view's event time
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import mmh3
from predmesh_bundle.read_plan import FeatureType, JoinKey

_WORD = struct.Struct("<I").pack
_HEAD = struct.Struct("<II").pack
_BYTES, _STRING, _INT32, _INT64, _TIMESTAMP = 1, 2, 3, 4, 8
_SHORT = 256
"""Texts shorter than this find what stands before them in a table."""

ENTITYLESS = (JoinKey(name="__dummy_id", type=FeatureType.STRING, column=""),)
"""Join key, always empty text, under which Feast keeps views without entities."""


def feature_field(view: str, feature: str) -> bytes:
    """Field of a hash that holds one feature."""
    return _WORD(mmh3.hash(f"{view}:{feature}", signed=False))


def stamp_field(view: str) -> bytes:
    """Field of a hash that holds the event time of all features of a view."""
    return f"_ts:{view}".encode()


def key_order(join_keys: Sequence[JoinKey]) -> tuple[JoinKey, ...]:
    """The join keys as Feast orders them in a key; those of a view without entities."""
    return tuple(sorted(join_keys, key=lambda key: key.name)) or ENTITYLESS


def key_prefix(ordered: Sequence[JoinKey]) -> bytes:
    """What stands before the values in the key of every entity."""
    names = [key.name.encode() for key in ordered]
    return _WORD(len(names)) + b"".join(_HEAD(_STRING, len(name)) + name for name in names)


def key_values(type: FeatureType) -> Callable[[Sequence[Any]], list[bytes]]:
    """Writes values of a join key; timestamps in seconds."""
    return _WRITERS[type]


def _sized(tag: int, data: Callable[[Any], bytes]) -> Callable[[Sequence[Any]], list[bytes]]:
    heads = [_HEAD(tag, size) for size in range(_SHORT)]

    def write(values: Sequence[Any]) -> list[bytes]:
        return [
            (heads[size] if (size := len(each)) < _SHORT else _HEAD(tag, size)) + each for each in map(data, values)
        ]

    return write


def _fixed(tag: int, form: str) -> Callable[[Sequence[Any]], list[bytes]]:
    layout = struct.Struct(f"<II{form}")
    pack, size = layout.pack, struct.calcsize(f"<{form}")
    return lambda values: [pack(tag, size, value) for value in values]


_WRITERS: dict[FeatureType, Callable[[Sequence[Any]], list[bytes]]] = {
    FeatureType.STRING: _sized(_STRING, str.encode),
    FeatureType.BYTES: _sized(_BYTES, bytes),
    FeatureType.INT32: _fixed(_INT32, "i"),
    FeatureType.INT64: _fixed(_INT64, "q"),
    FeatureType.TIMESTAMP: _fixed(_TIMESTAMP, "q"),
}
