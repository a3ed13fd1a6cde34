"""How single values of a request are read and shown; knows no input and no rule."""

from __future__ import annotations

import base64
import binascii
import math
import re
from datetime import UTC, date, datetime
from typing import Any

import orjson
from predmesh_bundle.values import LARGEST_EXACT

EXACT = LARGEST_EXACT + 1
"""From here on a JSON number no longer names one integer."""

_DECIMAL = re.compile(r"[+-]?[0-9]{1,20}", re.ASCII)
_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MICROSECONDS = 86_400_000_000
_LONGEST_SHOWN = 60
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def integer(value: object) -> int | None:
    """The integer that a JSON value names exactly; None when it names none.

    A number is exact below 2^53 only; beyond that a decimal string is.
    """
    if type(value) is int:
        return value if -EXACT < value < EXACT else None
    if type(value) is float:
        return int(value) if value.is_integer() and -EXACT < value < EXACT else None
    return int(value) if type(value) is str and _DECIMAL.fullmatch(value) else None


def timestamp(value: object) -> int | None:
    """Microseconds since 1970 of an RFC 3339 text; finer digits are cut off. None when it is none."""
    if type(value) is not str or not _RFC3339.fullmatch(value):
        return None
    try:
        since = datetime.fromisoformat(value.upper()) - _EPOCH
    except (ValueError, OverflowError):
        return None
    return since.days * _DAY_MICROSECONDS + since.seconds * 1_000_000 + since.microseconds


def timestamp_text(microseconds: int) -> str:
    """The RFC 3339 text of a time, with as many digits as it needs: none, three or six."""
    seconds, rest = divmod(microseconds, 1_000_000)
    moment = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    if not rest:
        return moment + "Z"
    return f"{moment}.{rest // 1000:03d}Z" if rest % 1000 == 0 else f"{moment}.{rest:06d}Z"


def base64_bytes(value: object) -> bytes | None:
    """The bytes of a base64 text, standard or URL-safe, padded or not; None when it is none."""
    if type(value) is not str or not value.isascii():
        return None
    plain = value.encode().translate(_URL_SAFE)
    try:
        return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    except binascii.Error:
        return None


def shown(value: object) -> str:
    """A JSON value as an error message shows it, shortened; the same whether it came as JSON or as a Struct."""
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    text = orjson.dumps(_normal(value), option=orjson.OPT_NON_STR_KEYS, default=repr).decode()
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"


def _normal(value: Any) -> Any:
    """*value* with its numbers written in one way; only as much of it as can be shown."""
    if type(value) is float and value.is_integer() and abs(value) < EXACT:
        return int(value)
    if type(value) is int and abs(value) >= EXACT:
        return float(value)
    if isinstance(value, list):
        return [_normal(each) for each in value[:_LONGEST_SHOWN]]
    if isinstance(value, dict):
        return {name: _normal(value[name]) for name in sorted(value)[:_LONGEST_SHOWN]}
    return value[: _LONGEST_SHOWN + 1] if isinstance(value, str) else value


def kind(value: object) -> str:
    """The JSON type of *value* in words."""
    if value is None:
        return "null"
    if type(value) in (int, float):
        return "a number"
    return _KINDS.get(type(value), type(value).__name__)


_KINDS: dict[type, str] = {bool: "a boolean", str: "a string", list: "an array", dict: "an object", bytes: "bytes"}


def json_example(value: Any, *, integer: bool) -> Any:
    """A bundle's example as a caller would send it: times as RFC 3339 text, bytes as base64, wide integers as text."""
    if integer and isinstance(value, int) and abs(value) >= EXACT:
        return str(value)
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return aware.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return f"{value.isoformat()}T00:00:00Z"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return [json_example(each, integer=integer) for each in value] if isinstance(value, list | tuple) else value
