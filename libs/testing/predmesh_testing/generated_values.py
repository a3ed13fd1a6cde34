"""Values of every type of Feast, edges and nulls among them: the same ones each time, and without Feast.

A value is what goes into its field of Feast's message: a Python scalar, a list of them, a dict of typed values for maps
and structs, and so on; None is null. A typed value is a pair of the field's name and the value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Dice = np.random.Generator
Typed = tuple[str, Any]

NULL_SHARE = 0.05
NULL_SECONDS = -(2**63)
FAR_SECONDS = (2**63 - 1) // 1_000_000 - 1
"""The furthest time that 64 bits of microseconds hold."""

_TEXT_EDGES = [
    "",
    "a\0b",
    "naïve ✈ 東京 🛫",
    "null",
    "NaN",
    "x" * 127,
    "y" * 128,
    "\u202e",
    "é",
    "e\u0301",
]
_BYTES_EDGES = [b"", b"\0", b"\xff" * 127, b"\xfe" * 128]
_LONG = 20_000
_LONG_EVERY = 10
"""Short edges come so many times before a long one is, for copying takes time."""


def generated(kind: str, count: int, seed: int, length: int = 0) -> list[Any]:
    """*count* values of the value type *kind* in lower case, e.g. ``float_list``; lists of *length* if given."""
    dice = np.random.default_rng([seed, sum(kind.encode())])
    values = _values(kind, count, dice, length)
    nulls = dice.random(count) < NULL_SHARE
    return [None if null else value for value, null in zip(values, nulls.tolist(), strict=True)]


def _values(kind: str, count: int, dice: Dice, length: int) -> list[Any]:
    if kind in _SCALARS:
        return _SCALARS[kind](count, dice)
    if kind in _NESTED:
        return _NESTED[kind](count, dice)
    element = kind.removesuffix("_list").removesuffix("_set")
    sizes = np.full(count, length) if length else dice.integers(0, 7, count)
    make = _SCALARS.get(element) or _NESTED[element]
    flat = make(int(sizes.sum()), dice)
    if element == "unix_timestamp" and not length:
        flat = [NULL_SECONDS if index % 17 == 0 else value for index, value in enumerate(flat)]
    return _cut(flat, sizes, distinct=kind.endswith("_set"))


def _cut(flat: Sequence[Any], sizes: Any, *, distinct: bool) -> list[Any]:
    stops = sizes.cumsum().tolist()
    parts = [flat[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]
    return [list(dict.fromkeys(part)) for part in parts] if distinct else parts


def _integers(bits: int) -> Callable[[int, Dice], list[Any]]:
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    edges = [0, -1, 1, 127, 128, 16_383, 16_384, lowest, highest, lowest + 1, highest - 1]

    def make(count: int, dice: Dice) -> list[Any]:
        # As many numbers of each length in bits.
        wide = dice.integers(-(2**63), 2**63 - 1, count, dtype=np.int64)
        return _mixed((wide >> dice.integers(64 - bits, 64, count)).tolist(), edges, dice)

    return make


def _floats(element: str, bits: str) -> Callable[[int, Dice], list[Any]]:
    kind = np.finfo(element)
    edges: list[Any] = [
        0.0,
        -0.0,
        np.nan,
        np.inf,
        -np.inf,
        kind.max,
        kind.min,
        kind.tiny,
        kind.smallest_subnormal,
        kind.eps,
        -1.5,
    ]

    def make(count: int, dice: Dice) -> list[Any]:
        random_bits = dice.integers(0, np.iinfo(bits).max, count, dtype=bits, endpoint=True)
        with np.errstate(invalid="ignore"):
            return _mixed(random_bits.view(element).astype("f8").tolist(), [float(edge) for edge in edges], dice)

    return make


def _texts(count: int, dice: Dice) -> list[Any]:
    points = np.concatenate([dice.integers(32, 127, 60_000), dice.integers(0xA0, 0xD7FF, 20_000)])
    points = np.concatenate([points, dice.integers(0x1F300, 0x1F6FF, 20_000)])
    dice.shuffle(points)
    pool = "".join(map(chr, points.tolist()))
    starts, sizes = dice.integers(0, 90_000, count), dice.geometric(0.06, count) - 1
    plain = [pool[start : start + size] for start, size in zip(starts.tolist(), sizes.tolist(), strict=True)]
    return _mixed(plain, [*_TEXT_EDGES * _LONG_EVERY, "z" * _LONG], dice)


def _bytes(count: int, dice: Dice) -> list[Any]:
    pool = dice.bytes(100_000)
    starts, sizes = dice.integers(0, 90_000, count), dice.geometric(0.05, count) - 1
    plain = [pool[start : start + size] for start, size in zip(starts.tolist(), sizes.tolist(), strict=True)]
    return _mixed(plain, [*_BYTES_EDGES * _LONG_EVERY, b"q" * _LONG], dice)


def _seconds(count: int, dice: Dice) -> list[Any]:
    plain = dice.integers(-FAR_SECONDS, FAR_SECONDS, count) >> dice.integers(0, 43, count)
    return _mixed(plain.tolist(), [0, -1, 1_357_016_400, 253_402_300_799, FAR_SECONDS, -FAR_SECONDS], dice)


def _booleans(count: int, dice: Dice) -> list[Any]:
    return list((dice.random(count) < 0.5).tolist())


def _documents(count: int, dice: Dice) -> list[Any]:
    edges = [json.dumps([text]) for text in [*_TEXT_EDGES * _LONG_EVERY, "z" * _LONG]]
    return _mixed([f'{{"n": {index}}}' for index in range(count)], edges, dice)


def _uuids(count: int, dice: Dice) -> list[Any]:
    digits = dice.bytes(16 * count).hex()
    cut = [digits[start : start + 32] for start in range(0, len(digits), 32)]
    return [f"{each[:8]}-{each[8:12]}-{each[12:16]}-{each[16:20]}-{each[20:]}" for each in cut]


def _decimals(count: int, dice: Dice) -> list[Any]:
    return [f"{number}.{index % 1000:03}" for index, number in enumerate(_integers(64)(count, dice))]


def _mixed(plain: list[Any], edges: Sequence[Any], dice: Dice) -> list[Any]:
    """*plain*, one in eight of which is an edge."""
    places = np.flatnonzero(dice.random(len(plain)) < 0.125).tolist()
    for turn, place in enumerate(places):
        plain[place] = edges[turn % len(edges)]
    return plain


def _maps(count: int, dice: Dice) -> list[Any]:
    texts, numbers = _texts(count, dice), _floats("f8", "u8")(count, dice)
    longs = _integers(64)(count, dice)
    return [
        {text: ("double_val", number), "long": ("int64_val", long), "null": None} if index % 9 else {}
        for index, (text, number, long) in enumerate(zip(texts, numbers, longs, strict=True))
    ]


def _structs(count: int, dice: Dice) -> list[Any]:
    pairs = zip(_texts(count, dice), _integers(64)(count, dice), strict=True)
    return [{"text": ("string_val", text), "number": ("int64_val", number)} for text, number in pairs]


def _scalar_maps(count: int, dice: Dice) -> list[Any]:
    keys, texts = _integers(64)(count, dice), _texts(count, dice)
    return [
        [(("int64_key", key), ("string_val", text)), (("bool_key", True), None)] if index % 9 else []
        for index, (key, text) in enumerate(zip(keys, texts, strict=True))
    ]


def _zoned(count: int, dice: Dice) -> list[Any]:
    zones = ["UTC", "America/New_York", "Asia/Kolkata", "UTC+05:30", ""]
    return [(seconds, zones[index % len(zones)]) for index, seconds in enumerate(_seconds(count, dice))]


def _lists_in(field: str, element: str) -> Callable[[int, Dice], list[Any]]:
    def make(count: int, dice: Dice) -> list[Any]:
        sizes = dice.integers(0, 4, count)
        inner = [(field, each) for each in _values(element, int(sizes.sum()), dice, 0)]
        return _cut(inner, sizes, distinct=False)

    return make


_SCALARS: dict[str, Callable[[int, Dice], list[Any]]] = {
    "bool": _booleans,
    "int32": _integers(32),
    "int64": _integers(64),
    "float": _floats("f4", "u4"),
    "double": _floats("f8", "u8"),
    "string": _texts,
    "bytes": _bytes,
    "pdf_bytes": _bytes,
    "image_bytes": _bytes,
    "unix_timestamp": _seconds,
    "json": _documents,
    "uuid": _uuids,
    "time_uuid": _uuids,
    "decimal": _decimals,
}
_NESTED: dict[str, Callable[[int, Dice], list[Any]]] = {
    "map": _maps,
    "struct": _structs,
    "scalar_map": _scalar_maps,
    "zoned_timestamp": _zoned,
    "value_list": _lists_in("double_list_val", "double_list"),
    "value_set": _lists_in("double_set_val", "double_set"),
}
