"""The golden requests: rows of the parity model, and what each must come to, whatever protocol brings it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests.parity import explaining
from tests.parity.outcomes import Place
from tests.parity.rows import INPUTS, AsNumber, AsText, echo

INVALID = "ERROR_REASON_INVALID_REQUEST"
BASE: dict[str, Any] = {
    "flag": True,
    "small": 7,
    "wide": 7,
    "single": 0.25,
    "precise": 0.5,
    "text": "ü",
    "blob": b"hello",
    "moment": "2013-12-31T23:59:00Z",
    "kind": "red",
}
"""A right row with what is required and no more."""


@dataclass(frozen=True)
class Expected:
    """What a request must come to; `places` are those of the violations, None where they do not matter."""

    code: str = "OK"
    reason: str = ""
    places: tuple[Place, ...] | None = None


FINE = Expected()
FAILED = Expected("FAILED_PRECONDITION", "ERROR_REASON_MODEL_FAILED")


@dataclass(frozen=True)
class Case:
    """A golden request.

    Attributes:
        name: unique.
        rows: what is asked.
        expected: of the request; of each row where `stream`.
        stream: whether each row is a request of its own in one stream.
        model: asked.
        version: asked; none for the default.
        seconds: time that the caller allows.
        cancel_after: seconds after which the caller walks away.
        raw: a body that says no rows.
        explain: what of explanations, where the rows are asked for with reasons; `top` and `output`.
        together: whether all faces may ask at once.
    """

    name: str
    rows: tuple[Any, ...]
    expected: tuple[Expected, ...] = (FINE,)
    stream: bool = False
    model: str = "parity"
    version: str = ""
    seconds: float | None = None
    cancel_after: float | None = None
    raw: bytes | None = None
    explain: Mapping[str, Any] | None = None
    together: bool = True

    def answer(self, row: Any) -> dict[str, Any]:
        """What the model says of a row that it takes."""
        return echo(row) if self.explain is None else explaining.explanation(row, int(self.explain.get("top") or 0))


DOWN = [
    Case(
        f"{name} while the explanation service is down",
        rows,
        (Expected("UNAVAILABLE", "ERROR_REASON_STAGE_DOWN"),),
        model=explaining.MODEL,
        explain={},
    )
    for name, rows in {"why": (BASE,), "why of two rows": (BASE, BASE)}.items()
] + [Case("a prediction while the explanation service is down", (BASE,))]
"""What is asked of a mesh whose explanation service is down."""

GOOD: dict[str, list[Any]] = {
    "flag": [True, False],
    "small": [-100, -1, 0, 1, 100],
    "wide": [
        *(0, -1, 2**31, 2**53 - 1, -(2**53) + 1, 2**53, 2**53 + 1, -(2**53), -(2**53) - 1),
        *(2**63 - 1, -(2**63), 123_456_789_012_345_678),
    ],
    "single": [0.0, -0.0, 0.1, -1.5, 16_777_217.0, 1e-45, 1.17549435e-38, 3.4028234e38, -3.4028234e38],
    "precise": [
        *(0.0, -0.0, 0.1, 1 / 3, -1.5, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308),
        *(-1.7976931348623157e308, 9007199254740992.0, 1e16, 1e22, 123456789.123456789),
    ],
    "text": [
        *(
            "",
            " ",
            "a",
            "ü",
            "u\u0308",
            "日本語",
            "👩‍👩‍👧‍👦",
            "שלום",
            "\u202eabc",
            "\ufeffbom",
            "a\u2028b",
            "\x00",
            "\x1f\x7f",
        ),
        *(
            '"',
            "\\",
            "\\u0041",
            "'; --",
            "a\nb\r\n\tc",
            "</script>",
            "null",
            "NaN",
            "1",
            "true",
            '{"a": [1]}',
            "%00%2e",
        ),
        *("x" * 100_000, "ü" * 50_000),
    ],
    "blob": [b"", b"\0", bytes(range(256)), b"\xff\xfe\xfd", "ü".encode(), b"{}", b"x" * 100_000],
    "moment": [
        *(
            "1970-01-01T00:00:00Z",
            "1969-12-31T23:59:59.999999Z",
            "2013-12-31T18:30:00-05:00",
            "2013-12-31T18:30:00+05:45",
        ),
        *("2012-02-29T12:00:00.5Z", "2012-02-29T12:00:00.123456Z", "2012-02-29T12:00:00.123456789Z"),
        *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2013-12-31t18:30:00z", "2000-01-01T00:00:00+00:00"),
    ],
    "kind": ["red", "green", "très cher"],
    "level": ["low", "high", None],
    "triple": [[0.0, -0.0, 0.1], [-1000.0, 1e-45, 3.4028234e38], [1.0, 2.0, 3.0], None],
    "grid": [[[0, 0], [0, 0]], [[-(2**31), 2**31 - 1], [1, -1]], None],
    "moods": [["good", "bad"], ["bad", "bad"], None],
    "maybe_flag": [True, False, None],
    "maybe_wide": [0, 7, 2**63 - 1, None],
    "maybe_precise": [0.0, -1.5, None],
    "maybe_text": ["", "text", None],
    "maybe_blob": [b"", b"bytes", None],
    "maybe_moment": ["1970-01-01T00:00:00Z", "2013-12-31T23:59:00Z", None],
    "patient": ["p-1", "p-2", None],
    "divisor": [1.0, 0.0, -0.0, 3.0, -1e-320, None],
    "fails": [False, None],
}
"""Values that an input takes."""

BAD: dict[str, list[Any]] = {
    "flag": [0, 1, "true", "", [], {}],
    "small": [-101, 101, 2**31 - 1, -(2**31), 2**31, 7.5, "7.5", "seven", "", True, [], {}, "\uff12"],
    "wide": [
        AsNumber(2**53),
        AsNumber(-(2**53)),
        AsNumber(2**64),
        "9223372036854775808",
        "1e3",
        "0x7",
        " 7",
        0.5,
        True,
        {},
    ],
    "single": [1e39, -1e39, math.nan, math.inf, -math.inf, "0.25", "NaN", "Infinity", True, [], {}],
    "precise": [math.nan, math.inf, -math.inf, "0.5", "", False, [], {}],
    "text": [7, 0.5, True, [], {}],
    "blob": ["*", "a", "aGVsbG8=\n", "ü", 7, True, [], {}],
    "moment": [
        *("noon", "", "2013-12-31", "2013-12-31T18:30:00", "2013-12-31 18:30", "2013-02-30T00:00:00Z"),
        *(
            "2013-12-31T24:00:01Z",
            "2013-12-31T18:30:00+25:00",
            "10000-01-01T00:00:00Z",
            "0000-01-01T00:00:00Z",
            1388534340,
        ),
        *(True, [], {}),
    ],
    "kind": ["blue", "RED", "", "gren", "red ", 1, True, []],
    "level": ["lowest", "", 0, []],
    "triple": [[1.0, 2.0], [1.0, 2.0, 3.0, 4.0], 1.0, [[1.0, 2.0, 3.0]], [1.0, "2", 3.0], [1.0, None, 3.0], "abc", {}],
    "grid": [[[1, 2], [3]], [[1, 2, 3], [4, 5, 6]], [1, 2, 3, 4], [[1, 2], [3, "x"]], [[1, 2], [3, 4.5]], 1],
    "moods": [["good"], ["good", "awful"], "good", [["good", "bad"]], ["good", 1]],
    "maybe_flag": [0, "false"],
    "maybe_wide": ["seven", 0.5],
    "maybe_precise": [math.nan, "x"],
    "maybe_text": [0],
    "maybe_blob": ["*"],
    "maybe_moment": ["noon"],
    "patient": ["p-3", "", 7, {}],
    "divisor": [math.inf, "1"],
    "nap_ms": [-1, 10_001],
    "fails": ["no"],
}
"""Values that an input refuses."""

_OF_ONE = {name for name, field in INPUTS.items() if field.shape}


def cases() -> list[Case]:
    """All of them; those that keep the model busy come last."""
    return [*_good(), *_bad(), *_rows(), *_names(), *_streams(), *_explained(), *_choices(), *_trouble()]


def _good() -> Iterator[Case]:
    yield Case("what is required", (BASE,))
    for name, values in GOOD.items():
        for number, value in enumerate(values):
            yield Case(f"{name} {number}: {_short(value)}", ({**BASE, name: value},))
    for precise in (0.0, -0.0, 1.0, -1.0, 1.7976931348623157e308):
        for divisor in (0.0, -0.0, 5e-324):
            yield Case(f"ratio of {precise} and {divisor}", ({**BASE, "precise": precise, "divisor": divisor},))
    yield Case("everything", ({name: values[0] for name, values in GOOD.items()},))
    yield Case("everything in another order", (dict(reversed([(name, values[0]) for name, values in GOOD.items()])),))
    yield Case("an integer for floats", ({**BASE, "single": 1, "precise": -1, "divisor": 2, "maybe_precise": 0},))
    yield Case("a whole float for an integer", ({**BASE, "small": 7.0, "wide": -7.0},))
    yield Case("text for an integer", ({**BASE, "small": "7", "wide": "-7"},))
    yield Case("URL-safe base64", ({**BASE, "blob": "_-8"},))


def _bad() -> Iterator[Case]:
    for name, values in BAD.items():
        for number, value in enumerate(values):
            at = _at(name, value)
            yield _refused(f"wrong {name} {number}: {_short(value)}", [{**BASE, name: value}], (0, at))
    for name in ("flag", "small", "single", "text"):
        yield _refused(f"a list of one for {name}", [{**BASE, name: [BASE[name]]}], (0, name))
    for name in BASE:
        row = {key: value for key, value in BASE.items() if key != name}
        yield _refused(f"no {name}", [row], (0, name))
        yield _refused(f"{name} is null", [{**BASE, name: None}], (0, name))
    yield _refused("an empty row", [{}], *((0, name) for name in BASE))
    yield _refused("an unknown input", [{**BASE, "textt": "a"}], (0, "textt"))
    yield _refused("an unknown input far from all", [{**BASE, "zzzzzz": "a"}], (0, "zzzzzz"))
    yield _refused("an input in capitals", [{**BASE, "Text": "a"}], (0, "Text"))
    yield _refused("an unknown input in unicode", [{**BASE, "größe": "a"}], (0, "größe"))
    yield _refused("an input without a name", [{**BASE, "": "a"}], (0, ""))
    yield _refused("names of protobuf's JSON", [{**BASE, "maybeWide": 7}], (0, "maybeWide"))
    yield _refused("two wrong values", [{**BASE, "small": 101, "kind": "blue"}], (0, "small"), (0, "kind"))
    wrong = {**BASE, "small": -101, "kind": "blue", "level": "lowest", "triple": [-1001.0, 0.0, -1002.0], "nap_ms": -1}
    places = ("small", "kind", "level", "triple[0]", "triple[2]", "nap_ms")
    yield _refused("many wrong values", [wrong], *((0, each) for each in places))
    yield _refused("wrong text that is long", [{**BASE, "kind": "x" * 10_000}], (0, "kind"))
    yield _refused("deep arrays for text", [{**BASE, "text": _deep(30)}], (0, "text"))
    yield _refused("deeper arrays for a shape", [{**BASE, "grid": _deep(20)}], (0, "grid"))
    yield _refused("a value in an object", [{**BASE, "small": {"value": 7}}], (0, "small"))
    yield _refused("a row in a row", [{**BASE, "text": BASE}], (0, "text"))


def _rows() -> Iterator[Case]:
    full = {**BASE, "triple": [1.0, 2.0, 3.0]}
    for count in (2, 3, 16, 17, 100, 1000):
        rows = [{**full, "small": index % 100, "wide": index, "text": f"row {index}"} for index in range(count)]
        yield Case(f"{count} rows", tuple(rows))
    yield Case("3000 rows", tuple([{**full, "wide": index} for index in range(3000)]), together=False)
    large = {**full, "text": "x" * 100_000, "blob": b"y" * 100_000}
    yield Case("large values", tuple([large] * 10), together=False)
    there = [{**BASE, name: GOOD[name][0]} for name in GOOD if None in GOOD[name]]
    yield Case("a row with and one without", (BASE, {**BASE, "maybe_wide": 2**60}))
    yield Case("each optional input once", (*there, BASE))
    yield Case(
        "each shape in some rows", (BASE, {**BASE, "triple": [1.0, 2.0, 3.0]}, {**BASE, "grid": [[5, 6], [7, 8]]})
    )
    yield _refused("no rows", [], (None, "rows"))
    yield Case(
        "10,001 rows", tuple([BASE] * 10_001), (_expected("ERROR_REASON_TOO_LARGE", ((None, "rows"),)),), together=False
    )
    yield _refused("the second row is wrong", [BASE, {**BASE, "small": 101}], (1, "small"))
    yield _refused("the last of twenty is wrong", [*[BASE] * 19, {**BASE, "kind": "blue"}], (19, "kind"))
    yield _refused("a required input is missing in one row", [BASE, {**BASE, "kind": None}], (1, "kind"))
    three = [{**BASE, "small": 101}, BASE, {**BASE, "small": -101, "level": "lowest"}]
    yield _refused("two of three rows are wrong", three, (0, "small"), (2, "small"), (2, "level"))
    yield _refused("a nested value of a later row", [BASE, {**BASE, "grid": [[1, 2], [3, 4.5]]}], (1, "grid[1][1]"))
    yield _refused("ten wrong rows", [{**BASE, "small": 101}] * 10, *((row, "small") for row in range(10)))
    expected = (_expected(INVALID, None),)
    yield Case("two hundred wrong rows", tuple([{**BASE, "small": 101}] * 200), expected)
    others: tuple[Any, ...] = (7, "row", None, True, [])
    for value in others:
        yield _refused(f"a row that is {_short(value)}", [value], (0, ""))
    yield _refused("a second row that is none", [BASE, "row"], (1, ""))


def _names() -> Iterator[Case]:
    yield Case("the version by its name", (BASE,), version="1")
    unknown = {
        "parit": "near",
        "zzz": "far",
        "Parity": "capitals",
        "": "no name",
        "größe": "unicode",
        "a" * 300: "long",
    }
    for model, how in unknown.items():
        found = Expected("NOT_FOUND", "ERROR_REASON_MODEL_UNKNOWN")
        yield Case(f"an unknown model, {how}", (BASE,), (found,), model=model)
        yield Case(f"an unknown model, {how}, and a wrong row", ({},), (found,), model=model)
    for version in ("9", "x", "01", "1.0", "-1"):
        found = Expected("NOT_FOUND", "ERROR_REASON_VERSION_UNKNOWN")
        yield Case(f"an unknown version {version}", (BASE,), (found,), version=version)
    for name, body in {"bytes": b"\xff\xff\xff", "a cut off message": b"\x1a\x7f{"}.items():
        found = Expected("INVALID_ARGUMENT", "ERROR_REASON_MALFORMED_BODY")
        yield Case(f"no request but {name}", (BASE,), (found,), raw=body)


def _streams() -> Iterator[Case]:
    bad = {**BASE, "small": 101}
    wrong = Expected("INVALID_ARGUMENT", INVALID)
    streams: dict[str, list[Any]] = {
        "one row": [BASE],
        "three rows": [{**BASE, "wide": index} for index in range(3)],
        "a hundred rows": [{**BASE, "wide": index} for index in range(100)],
        "a wrong row at the start": [bad, BASE, BASE],
        "a wrong row half way": [BASE, bad, BASE],
        "a wrong row at the end": [BASE, BASE, bad],
        "only wrong rows": [bad, bad],
        "an empty row half way": [BASE, {}, BASE],
        "a hundred rows, each third wrong": [bad if index % 3 == 0 else BASE for index in range(100)],
        "numbers that are none": [{**BASE, "divisor": 0.0}, bad, {**BASE, "precise": 0.0, "divisor": 0.0}],
        "unicode half way": [BASE, {**BASE, "text": "日本語"}, {**BASE, "kind": "très chère"}],
        "missing and default": [BASE, {**BASE, "level": "high", "maybe_wide": 2**60}, BASE],
        "large and small": [{**BASE, "text": "x" * 100_000}, BASE, {**BASE, "blob": b"y" * 100_000}],
    }
    for name, rows in streams.items():
        expected = tuple(wrong if row is bad or row == {} or row["kind"] == "très chère" else FINE for row in rows)
        yield Case(f"a stream of {name}", tuple(rows), expected, stream=True)
    malformed = Expected("INVALID_ARGUMENT", "ERROR_REASON_MALFORMED_BODY")
    for name, text in {"cut off": '{"small": 7, "wid', "no JSON": "small: 7", "NaN": '{"small": NaN}'}.items():
        broken = (BASE, AsText(text), BASE)
        yield Case(f"a stream with a row that is {name} half way", broken, (FINE, malformed, FINE), stream=True)
    twice = (BASE, AsText('{"small": 7, "small": 8}'), BASE)
    yield Case("a stream with a row that says an input twice half way", twice, (FINE, wrong, FINE), stream=True)
    half_way = (BASE, {**BASE, "fails": True}, BASE)
    yield Case("a stream on which the model fails half way", half_way, (FINE, FAILED, FINE), stream=True)


def _explained() -> Iterator[Case]:
    """What is asked of predictions, asked why."""
    for case in (*_good(), *_bad(), *_rows(), *_names()):
        if case.raw is None and case.together:
            asked = replace(case, name=f"why {case.name}", explain={})
            asked = replace(asked, model=explaining.MODEL) if case.model == "parity" else asked
            yield asked if explaining.finite(case.rows) else replace(asked, expected=(FAILED,))


def _choices() -> Iterator[Case]:
    """What an explanation is asked for."""
    row = {**BASE, "maybe_precise": -0.5, "triple": [1.0, 2.0, 3.0]}

    def why(name: str, expected: Expected = FINE, rows: tuple[Any, ...] = (row,), **choices: Any) -> Case:
        return Case(f"why {name}", rows, (expected,), model=explaining.MODEL, explain=choices)

    for top in (0, 1, 2, 7, 8, 2**32 - 1, None):
        yield why(f"the top {top}", top=top)
    yield why("the top 3 of two rows", top=3, rows=(row, BASE))
    yield why("the top that is text", top="2")
    yield why("the top that is a whole float", top=2.0)
    for output in ("score", "", None):
        yield why(f"the output {output!r}", output=output)
    yield why("the top 2 of an output", top=2, output="score")
    wrong_tops: tuple[Any, ...] = (-1, 2**32, 2**64, 1.5, "x", "", True, False, [], {})
    for wrong_top in wrong_tops:
        yield why(f"a wrong top {wrong_top!r}", _expected(INVALID, ((None, "top"),)), top=wrong_top)
    for output in ("scor", "zzz", "Score", "größe", "small", "x" * 1000):
        yield why(f"an unknown output {_short(output)}", _expected(INVALID, ((None, "output"),)), output=output)
    others: tuple[Any, ...] = (7, 0, True, False, [], {})
    for other in others:
        yield why(f"an output that is {other!r}", _expected(INVALID, ((None, "output"),)), output=other)
    yield why("two wrong choices", _expected(INVALID, ((None, "top"), (None, "output"))), top=-1, output=7)
    wrong = ({**BASE, "small": 101},)
    both = _expected(INVALID, ((None, "output"), (0, "small")))
    yield why("an unknown output of a wrong row", both, wrong, output="scor")
    yield why("a wrong top of a wrong row", _expected(INVALID, ((None, "top"), (0, "small"))), wrong, top=-1)
    three = _expected(INVALID, ((None, "top"), (None, "output"), (0, "small")))
    yield why("two wrong choices of a wrong row", three, wrong, top=-1, output=7)
    unexplainable = Expected("FAILED_PRECONDITION", "ERROR_REASON_NOT_EXPLAINABLE")
    for name, rows in {"": (row,), " and a wrong row": wrong, " and no rows": ()}.items():
        yield Case(f"why of a model without reasons{name}", rows, (unexplainable,), explain={})
    yield Case("why of a model without reasons, its output", (row,), (unexplainable,), explain={"output": "small"})


def _trouble() -> Iterator[Case]:
    yield from _trouble_of("", "parity", None, late_ms=8500)
    yield from _trouble_of("why ", explaining.MODEL, {}, late_ms=4500)


def _trouble_of(why: str, model: str, explain: Mapping[str, Any] | None, *, late_ms: int) -> Iterator[Case]:
    """What goes wrong on the way to *model*'s answers, which takes longer than it may by *late_ms*."""

    def asked(name: str, *rows: Any, expected: Expected = FINE, **how: Any) -> Case:
        return Case(f"{why}{name}", rows, (expected,), model=model, explain=explain, **how)

    fails = {**BASE, "fails": True}
    yield asked("the model fails", fails, expected=FAILED, together=False)
    yield asked("the model fails on one row of three", BASE, fails, BASE, expected=FAILED, together=False)
    yield asked("after the model failed", BASE)
    late = Expected("DEADLINE_EXCEEDED", "ERROR_REASON_DEADLINE")
    nap = {**BASE, "nap_ms": 600}
    yield asked("enough time", {**BASE, "nap_ms": 50}, seconds=7.0)
    yield asked("the caller's deadline", nap, expected=late, seconds=0.2)
    yield asked("after the caller's deadline", BASE)
    yield asked("the caller walks away", nap, expected=Expected("CANCELLED"), cancel_after=0.1)
    yield asked("after the caller walked away", BASE)
    yield asked("longer than the budget", {**BASE, "nap_ms": late_ms}, expected=late)


def _refused(name: str, rows: list[Any], *places: Place) -> Case:
    return Case(name, tuple(rows), (_expected(INVALID, places),))


def _expected(reason: str, places: tuple[Place, ...] | None) -> Expected:
    return Expected("INVALID_ARGUMENT", reason, places)


def _at(name: str, value: Any) -> str:
    """Where in the input a wrong *value* of the right shape is wrong."""
    if name in _OF_ONE and isinstance(value, list) and _sizes(value) == INPUTS[name].shape:
        return name + {1: "[1]", 2: "[1][1]"}[len(INPUTS[name].shape)]
    return name


def _sizes(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list):
        return ()
    inner = {_sizes(each) for each in value}
    return (len(value), *inner.pop()) if len(inner) == 1 else (-1,)


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:30]}… ({len(text)})"
