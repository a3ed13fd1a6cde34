"""The known name that a caller most likely meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST_COMPARED = 64


def nearest(name: str, known: Iterable[str]) -> str:
    """The one of *known* most like *name*; empty when none is like it.

    Case, dashes and underscores do not count, so that ``scheduledDeparture`` finds ``scheduled_departure``.
    """
    plain = {_plain(one): one for one in known}
    wanted = _plain(name[:_LONGEST_COMPARED])
    if wanted in plain:
        return plain[wanted]
    close = get_close_matches(wanted, plain, n=1, cutoff=0.6)
    return plain[close[0]] if close else ""


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold()
