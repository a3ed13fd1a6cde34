"""JSON bodies, read strictly: broken JSON has a position, and a key that is unknown or there twice is refused."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

import orjson
from predmesh_rpc.errors import InvalidInput

from predmesh_prediction.validation import check_bytes
from predmesh_prediction.values import kind
from predmesh_prediction.violations import Violations

_JSON = "application/json"
_DEEPEST = 253
"""Levels that orjson writes; it reads a few more."""


def check_content_type(content_type: str) -> None:
    """Raise InvalidInput unless the body is JSON, or does not say what it is."""
    if content_type and content_type.partition(";")[0].strip().lower() != _JSON:
        raise InvalidInput(
            "ERROR_REASON_CONTENT_TYPE",
            f"the content type is {content_type[:80]!r}: send JSON, with `Content-Type: {_JSON}`",
            contentType=content_type[:80],
            accepted=_JSON,
        )


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
    try:
        written = orjson.dumps(document)
    except orjson.JSONEncodeError:
        raise InvalidInput(
            "ERROR_REASON_MALFORMED_BODY", f"the body is nested deeper than {_DEEPEST} arrays and objects"
        ) from None
    if _may_hold_duplicates(body, written):
        for path in _duplicates(body):
            violations.add(path, "is there twice in one object: send it once")
    for key in document:
        if key not in keys:
            violations.unknown(key[:80], f"is no key of this request; there are {', '.join(keys)}", key, keys)
    violations.check(model)
    return document  # type: ignore[no-any-return]


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
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


def _duplicates(body: bytes) -> Iterator[str]:
    return _paths(json.loads(body, object_pairs_hook=_object), "")


def _paths(value: Any, at: str) -> Iterator[str]:
    if isinstance(value, _Twice):
        yield from (f"{at}.{name}".lstrip(".") for name in value.twice)
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _paths(each, f"{at}.{name}".lstrip("."))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _paths(each, f"{at}[{index}]")
