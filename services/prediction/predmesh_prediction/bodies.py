"""JSON bodies, read strictly: broken JSON has a position, and a key that is unknown or there twice is refused."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import orjson
from predmesh_rpc.errors import InvalidInput

from predmesh_prediction.validation import check_bytes
from predmesh_prediction.values import kind
from predmesh_prediction.violations import Violations

JSON = "application/json"
"""Content type of a body that is one JSON document."""

LINES = "application/x-ndjson"
"""Content type of a body that is one JSON document a line."""

_DEEPEST = 253
"""Levels that orjson writes; it reads a few more."""


def check_content_type(content_type: str, *more: str) -> None:
    """Raise InvalidInput unless the body is JSON, or of *more* types, or does not say what it is."""
    accepted = (JSON, *more)
    if content_type and media_type(content_type) not in accepted:
        wanted = " or ".join(f"`Content-Type: {each}`" for each in accepted)
        raise InvalidInput(
            "ERROR_REASON_CONTENT_TYPE",
            f"the content type is {content_type[:80]!r}: send JSON, with {wanted}",
            contentType=content_type[:80],
            accepted=", ".join(accepted),
        )


def media_type(text: str) -> str:
    """The media type at the head of a content type or a media range, without its parameters."""
    return text.partition(";")[0].strip().lower()


def read_object(body: bytes, keys: Collection[str], model: str) -> dict[str, Any]:
    """The JSON object in *body*, which has none but the given *keys*.

    Raises:
        InvalidInput: with every violation found at this level; or the body is too large or no JSON.
    """
    check_bytes(len(body))
    document = _parsed(body)
    violations = Violations()
    if not isinstance(document, dict):
        violations.add("body", f'must be a JSON object such as {{"instances": [{{…}}]}}, not {kind(document)}')
        violations.check(model)
    _check_keys(body, document, "", violations)
    for key in document:
        if key not in keys:
            violations.unknown(key[:80], f"is no key of this request; there are {', '.join(keys)}", key, keys)
    violations.check(model)
    return document  # type: ignore[no-any-return]


def read_line(line: bytes, number: int, place: str, model: str) -> Any:
    """The JSON value that is one *line* of a body, counted from 1, and is called *place*.

    Raises:
        InvalidInput: it is no JSON, or an object in it names a key twice.
    """
    value = _parsed(line, number)
    violations = Violations()
    _check_keys(line, value, place, violations)
    violations.check(model)
    return value


def read_instances(document: Mapping[str, Any], model: str) -> list[Any] | None:
    """The rows that *document* brings as objects; None where it brings none.

    Raises:
        InvalidInput: they are no array.
    """
    instances = document.get("instances")
    if instances is not None and not isinstance(instances, list):
        violations = Violations()
        violations.add("instances", f"must be an array of objects, not {kind(instances)}")
        violations.check(model)
    return instances


def _check_keys(body: bytes, document: Any, at: str, violations: Violations) -> None:
    """Note the keys that *body*, which says *document*, names twice in one object; *at* is where it stands."""
    try:
        written = orjson.dumps(document)
    except orjson.JSONEncodeError:
        raise InvalidInput(
            "ERROR_REASON_MALFORMED_BODY", f"the body is nested deeper than {_DEEPEST} arrays and objects"
        ) from None
    if _may_hold_duplicates(body, written):
        for path in _duplicates(body, at):
            violations.add(path, "is there twice in one object: send it once")


def _parsed(body: bytes, first_line: int = 1) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        where = f"line {error.lineno + first_line - 1}, column {error.colno}"
        raise InvalidInput(
            "ERROR_REASON_MALFORMED_BODY", f"the body is no JSON: {error.msg} ({where})", position=where
        ) from None


def _may_hold_duplicates(body: bytes, written: bytes) -> bool:
    """Whether *body* may name a key twice; orjson keeps the last one silently.

    *written* out again, the document has one colon a key that is left, and those inside texts; a key that was dropped
    leaves one less. Only an escaped colon could hide that.
    """
    return body.count(b":") != written.count(b":") or b"\\u003" in body


class _Twice(dict[str, Any]):
    """An object that names keys twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        names = [name for name, _ in pairs]
        self.twice = [name for name in self if names.count(name) > 1]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    return plain if len(plain) == len(pairs) else _Twice(pairs)


def _duplicates(body: bytes, at: str) -> Iterator[str]:
    return _paths(json.loads(body, object_pairs_hook=_object), at)


def _paths(value: Any, at: str) -> Iterator[str]:
    if isinstance(value, _Twice):
        yield from (f"{at}.{name}".lstrip(".") for name in value.twice)
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _paths(each, f"{at}.{name}".lstrip("."))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _paths(each, f"{at}[{index}]")
