"""Names in Feast's Redis layout: one hash an entity, keyed by its join keys and the project; no I/O.

key    = number of join keys, their names in order, their values in that order, the project
fields = murmur3("view:feature") and "_ts:view" for the view's event time
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any

import mmh3
from predmesh_bundle.read_plan import FeatureType, JoinKey

from predmesh_features.table import Table

_WORD = struct.Struct("<I").pack
_HEAD = struct.Struct("<II").pack
_BYTES, _STRING, _INT32, _INT64, _TIMESTAMP = 1, 2, 3, 4, 8

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


def keys(
    types: Sequence[FeatureType], columns: Sequence[Sequence[Any]], *, prefix: bytes, project: bytes
) -> list[bytes]:
    """The keys of entities whose join keys, of *types*, stand in *columns*; timestamps in seconds."""
    parts = [part for type, column in zip(types, columns, strict=True) for part in _WRITERS[type](column)]
    return list(map(b"".join, zip(repeat(prefix), *parts, repeat(project))))


_Parts = tuple[Iterable[bytes], ...]
"""What each key holds of one join key, piece by piece: no Python runs for each value."""


def _sized(tag: int, data: Callable[[Any], bytes]) -> Callable[[Sequence[Any]], _Parts]:
    heads = Table(functools.partial(_HEAD, tag))

    def write(values: Sequence[Any]) -> _Parts:
        written = list(map(data, values))
        return map(heads.__getitem__, map(len, written)), written

    return write


def _fixed(tag: int, form: str) -> Callable[[Sequence[Any]], _Parts]:
    head, pack = _HEAD(tag, struct.calcsize(f"<{form}")), struct.Struct(f"<{form}").pack
    return lambda values: (repeat(head), map(pack, values))


_WRITERS: dict[FeatureType, Callable[[Sequence[Any]], _Parts]] = {
    FeatureType.STRING: _sized(_STRING, str.encode),
    FeatureType.BYTES: _sized(_BYTES, bytes),
    FeatureType.INT32: _fixed(_INT32, "i"),
    FeatureType.INT64: _fixed(_INT64, "q"),
    FeatureType.TIMESTAMP: _fixed(_TIMESTAMP, "q"),
}
