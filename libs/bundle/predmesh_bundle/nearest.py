"""The right name that a wrong one was probably meant to be."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_SHORTEST_PART = 4
"""Letters that a part of a name must have to stand for it."""

_LONGEST_COMPARED = 64
"""Letters that are looked at; comparing takes the product of both lengths."""


def nearest(name: str, names: Iterable[str]) -> str:
    """The one of *names* most like *name*; empty where none is like it.

    Case, dashes and underscores do not count, so that ``scheduledDeparture`` finds ``scheduled_departure``.
    """
    plain = {_plain(each): each for each in names}
    wanted = _plain(name[:_LONGEST_COMPARED])
    if wanted in plain:
        return plain[wanted]
    if close := get_close_matches(wanted, plain, n=1, cutoff=0.6):
        return plain[close[0]]
    longer = [each for each in plain if len(wanted) >= _SHORTEST_PART and wanted in each]
    return plain[min(longer, key=len)] if longer else ""


def hint(name: str, names: Iterable[str]) -> str:
    """What to tell somebody who wrote *name*: the nearest of *names*, else all of them."""
    names = list(names)
    if close := nearest(name, names):
        return f"did you mean {close!r}?"
    return f"there are {', '.join(sorted(names))}" if names else "there are none"


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold()
