"""Requests by chance: right ones, nearly right ones and garbage, of one face; the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from tests.parity.faces import Face
from tests.parity.golden import BAD, BASE, GOOD, Case, cases
from tests.parity.rows import INPUTS, CannotSay
from tests.parity.wire import Shot

_SMALL_BYTES = 4096
_MOST_ROWS = 20
# Naps and failures that are ordered are no finding.
_LEFT_ALONE = ("nap_ms", "fails")
_NAMES = [
    "parity",
    "parity",
    "parity",
    "parit",
    "parity.raw",
    "",
    ".raw",
    "é",
    "a" * 300,
    "..",
    "%",
    "a b",
    "pa/rity",
    "\n",
]
_VERSIONS = ["", "1", "1", "9", "x", "-1", "01", "1" * 30, "é", "../1"]
_KINDS = [
    "application/json",
    "application/json; charset=x",
    "text/plain",
    "",
    "application/grpc",
    "a/b",
    "application/x-ndjson",
]
_HEADERS = [
    *(
        "accept",
        "accept-encoding",
        "content-encoding",
        "x-request-id",
        "traceparent",
        "grpc-timeout",
        "te",
        "x-grpc-web",
    ),
    *("inference-header-content-length", "x-predmesh-scopes", "if-match", "range", "expect", "x-http-method-override"),
]
_WORDS = [
    "",
    "0",
    "-1",
    "gzip",
    "text/event-stream",
    "admin",
    "\xe9",
    "x" * 2000,
    "1S",
    "99999999999",
]
_ODD = [
    b"",
    b"\0",
    b"\xff",
    b"{",
    b"}",
    b"[",
    b'"',
    b"\\",
    b"NaN",
    b"1e999",
    b"-",
    b"null",
    b"\x80\x80\x80\x80\x80\x80",
    b"\xe2\x80",
]


PATHS = [
    *("/", "/healthz", "/v1/models", "/v1/models/parity", "/v1/models/parity/versions/1", "/v1/models/parity:explain"),
    *(f"/v1/models/parity/versions/1/contract/{file}" for file in ("contract.proto", "openapi.json", "schema.json")),
    *("/v1/models/parity/versions/1/typed:explain", "/v1/models/parity/versions/1:predict"),
    *("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/parity", "/v2/models/parity/ready"),
    *("/v2/models/parity/versions/1/ready", "/v2/repository/index", "/v2/repository/models/parity/load"),
]
"""Paths of REST besides predictions; not those of Triton's extensions, which answer 501 on purpose."""
_VERBS = ["GET", "GET", "GET", "POST", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"]
_BODIES = [
    b"",
    b"{}",
    b"null",
    b"[]",
    b"{",
    b"\xff",
    b'{"instances": [{}]}',
    b'{"ready": true}',
    b'{"top": -1, "instances": [{}]}',
]


def misled(seed: int) -> Iterator[tuple[str, Shot]]:
    """Requests without end to paths of REST, right and garbled, by any verb."""
    dice = random.Random(seed)
    while True:
        path, verb, headers = dice.choice(PATHS), dice.choice(_VERBS), {}
        for _ in range(dice.choice((0, 0, 1, 2))):
            path = "/" + _garbled_text(path[1:], dice).lstrip("/")
        if dice.random() < 0.2:
            path += dice.choice(["?", "?model=x", "?version=9", "?a=%ff", "?" + "a" * 2000, "%00", "%2e%2e", "//", "#"])
        if dice.random() < 0.3:
            headers = {"content-type": dice.choice(_KINDS), dice.choice(_HEADERS): dice.choice(_WORDS)}
        body = dice.choice(_BODIES) if verb in ("POST", "PUT", "PATCH") else b""
        shot = Shot("http", quote(path, safe="/:%?=#"), (body,), tuple(headers.items()), verb=verb)
        yield "paths", shot


def generated(faces: Sequence[Face], seed: int) -> Iterator[tuple[str, Shot]]:
    """Requests without end, each over one of *faces*, by its name."""
    dice = random.Random(seed)
    values = [value for pool in (*GOOD.values(), *BAD.values()) for value in pool if len(repr(value)) < _SMALL_BYTES]
    golden = {face.name: _golden(face) for face in faces}
    while True:
        face = dice.choice(faces)
        right = dice.choice(golden[face.name])
        how = dice.random()
        if how < 0.25:
            yield face.name, right
        elif how < 0.6:
            yield face.name, _of_rows(face, dice, values) or right
        elif how < 0.9:
            yield face.name, _garbled(right, dice.choice(golden[face.name]), dice)
        else:
            yield face.name, _misdirected(face, right, dice)


def _golden(face: Face) -> list[Shot]:
    usual = [each for each in cases() if each.together and each.seconds is None and each.cancel_after is None]
    found = []
    for case in usual:
        if any(isinstance(row, dict) and (row.get("nap_ms") or row.get("fails")) for row in case.rows):
            continue
        try:
            shot = face.ask(case)
        except CannotSay:
            continue
        if sum(map(len, shot.bodies)) < 16 * _SMALL_BYTES:
            found.append(shot)
    return found


def _of_rows(face: Face, dice: random.Random, values: list[Any]) -> Shot | None:
    """A request of rows with wrong values in some places; None where the face cannot say them."""
    rows = tuple(_row(dice, values) for _ in range(dice.choice((0, 1, 1, 1, 1, 2, 3, _MOST_ROWS))))
    for stream in (True, False):
        try:
            return face.ask(Case("", rows, stream=stream))
        except CannotSay:
            continue
    return None


def _row(dice: random.Random, values: list[Any]) -> Any:
    if dice.random() < 0.03:
        return dice.choice(values)
    row = dict(BASE)
    for _ in range(dice.choice((0, 1, 1, 2, 5))):
        name = dice.choice([each for each in INPUTS if each not in _LEFT_ALONE])
        match dice.randrange(4):
            case 0:
                row.pop(name, None)
            case 1 if dice.random() < 0.3:
                row[_garbled_text(name, dice)] = dice.choice(values)
            case 2:
                row[name] = dice.choice(values)
            case _:
                row[name] = dice.choice([*GOOD.get(name, []), *BAD.get(name, [])] or values)
    return row


def _garbled(shot: Shot, other: Shot, dice: random.Random) -> Shot:
    """*shot* with a few bytes changed, taken out, put in, cut off, or joined to those of *other*."""
    bodies = list(shot.bodies)
    if bodies:
        at = dice.randrange(len(bodies))
        for _ in range(dice.choice((1, 1, 1, 2, 8))):
            bodies[at] = _changed(bodies[at], other.bodies[0] if other.bodies else b"", dice)
    return replace(shot, bodies=tuple(bodies))


def _changed(body: bytes, other: bytes, dice: random.Random) -> bytes:
    start = dice.randrange(len(body) + 1)
    end = min(len(body), start + dice.choice((1, 1, 2, 4, 30)))
    match dice.randrange(7):
        case 0:
            return body[:start] + dice.randbytes(end - start) + body[end:]
        case 1:
            return body[:start] + body[end:]
        case 2:
            return body[:start] + dice.choice(_ODD) + body[start:]
        case 3:
            return body[:start]
        case 4:
            return body[:start] + other[start:]
        case 5:
            return body[:end] + body[start:end] * dice.choice((1, 3, 50)) + body[end:]
        case _:
            return dice.randbytes(dice.choice((0, 1, 10, 300)))


def _misdirected(face: Face, shot: Shot, dice: random.Random) -> Shot:
    """*shot* to another model, version or path, or with other headers."""
    if dice.random() < 0.6:
        try:
            return _safe(face.ask(Case("", (BASE,), model=dice.choice(_NAMES), version=dice.choice(_VERSIONS))))
        except CannotSay:
            pass
    if dice.random() < 0.3:
        return _safe(replace(shot, path="/" + _garbled_text(shot.path[1:], dice).lstrip("/")))
    if shot.how == "http":
        headers = (
            dict(shot.headers) | {"content-type": dice.choice(_KINDS)} | {dice.choice(_HEADERS): dice.choice(_WORDS)}
        )
        return replace(shot, headers=tuple(headers.items()))
    return replace(shot, headers=(*shot.headers, (f"x-{dice.randrange(9)}", dice.choice(["", "a", "x" * 2000]))))


def _safe(shot: Shot) -> Shot:
    """*shot* with a path that a client can send."""
    return replace(shot, path=quote(shot.path, safe="/:%") if shot.how == "http" else quote(shot.path, safe="/:.%"))


def _garbled_text(text: str, dice: random.Random) -> str:
    at = dice.randrange(len(text) + 1)
    return text[:at] + dice.choice(["", "é", "/", ".", ":", "_", "A", "0", "\u2028"]) + text[at + dice.randrange(2) :]
