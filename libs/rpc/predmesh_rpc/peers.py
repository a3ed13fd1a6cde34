"""Which of a service's processes a call goes to: the least busy one that is there. A choice alone, no I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

AWAY_SECONDS = 0.5
"""Time for which a process that could not be reached, or did not answer in time, is passed by."""


@dataclass(slots=True, eq=False)
class Peer:
    """One process, as its callers see it."""

    path: str
    """Its unix socket."""
    in_flight: int = 0
    """Calls that wait for its answer."""
    away_until: float = 0.0
    """Loop time until which it is passed by."""

    def missed(self, now: float) -> None:
        """Pass it by for a while, from *now* on."""
        self.away_until = now + AWAY_SECONDS


class Peers:
    """The processes of one service."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.all = tuple(Peer(path) for path in paths)
        self._turn = 0

    def choose(self, now: float, passed: Collection[Peer] = ()) -> Peer:
        """The one with the fewest calls in flight, by turns among equals; one that is away where no other is left.

        Args:
            now: loop time.
            passed: those that did not take this call; never all of them.
        """
        if len(self.all) == 1:
            return self.all[0]
        self._turn = (self._turn + 1) % len(self.all)
        in_turn = self.all[self._turn :] + self.all[: self._turn]
        left = [peer for peer in in_turn if peer not in passed]
        return min(left, key=lambda peer: (peer.away_until > now, peer.in_flight))
