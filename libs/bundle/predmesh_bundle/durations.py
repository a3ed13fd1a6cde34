"""Durations as a person writes them, `200ms` or `1h`, in seconds."""

import re

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s?(?P<unit>ms|s|m|h|d)")


def seconds(text: str) -> float:
    """The seconds that *text* means, e.g. 0.2 for `200ms`.

    Raises:
        ValueError: it is no number followed by ms, s, m, h or d.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no duration: write a number and a unit, such as 200ms, 1s, 5m, 2h or 1d")
    return float(match["number"]) * _UNITS[match["unit"]]


def duration(value: float) -> str:
    """The shortest way to write *value* seconds that reads back as the same number."""
    for unit in ("d", "h", "m", "s"):
        if value and value % _UNITS[unit] == 0:
            return f"{value / _UNITS[unit]:.0f}{unit}"
    return f"{value * 1000:g}ms"
