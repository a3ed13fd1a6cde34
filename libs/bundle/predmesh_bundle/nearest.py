"""The right name that a wrong one was probably meant to be."""

import difflib
from collections.abc import Iterable

_SHORTEST_PART = 4
"""Letters that a part of a name must have to stand for it."""


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of *names* most like *name*; None where none is like it."""
    by_lower = {each.lower(): each for each in names}
    lower = name.lower()
    matches = difflib.get_close_matches(lower, by_lower, n=1, cutoff=0.6)
    if matches:
        return by_lower[matches[0]]
    longer = sorted((each for each in by_lower if len(lower) >= _SHORTEST_PART and lower in each), key=len)
    return by_lower[longer[0]] if longer else None


def hint(name: str, names: Iterable[str]) -> str:
    """What to tell somebody who wrote *name*: the nearest of *names*, else all of them."""
    names = list(names)
    if close := nearest(name, names):
        return f"did you mean {close!r}?"
    return f"there are {', '.join(sorted(names))}" if names else "there are none"
