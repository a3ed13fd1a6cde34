"""When a batch fails because of its rows: finds whose they are, so that the others are answered all the same."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from predmesh_rpc.errors import DeadlineExceeded, DependencyDown, NotFound, NotOffered, PredmeshError, TooMuch

from predmesh_prediction.batching import Piece

_ELSEWHERE = (DependencyDown, DeadlineExceeded, TooMuch, NotFound, NotOffered, TimeoutError, OSError)

Pieces = Sequence[Piece[Any]]


def rows_may_be_to_blame(error: Exception) -> bool:
    """Whether other rows might have gone through: what is down, late or full fails whatever it is sent."""
    return not isinstance(error, _ELSEWHERE)


class Isolation:
    """Halves a failed batch until each request that fails alone is found."""

    def __init__(self, run: Callable[[Pieces], Awaitable[Any]], give: Callable[[Pieces, Any], None]) -> None:
        """Prepare to *run* some of a batch's pieces, and to *give* them their result."""
        self._run = run
        self._give = give
        self._failures = 0

    async def settle(self, pieces: Pieces, error: Exception) -> None:
        """Answer *pieces*, which failed with *error* when they travelled together.

        Some log2 runs a culprit. Where nothing goes through any more the rest fails with what is known.
        """
        await self._settle(pieces, error, 2 * len(pieces).bit_length() + 2)

    async def _settle(self, pieces: Pieces, error: Exception, most_failures: int) -> None:
        if len(pieces) == 1:
            fail(pieces, await self._named(pieces[0], error))
            return
        middle = len(pieces) // 2
        for half in (pieces[:middle], pieces[middle:]):
            waiting = [piece for piece in half if not piece.waiting.answered.done()]
            if not waiting:
                continue
            if self._failures >= most_failures or not rows_may_be_to_blame(error):
                fail(waiting, error)
                continue
            try:
                result = await self._run(waiting)
            except Exception as found:
                self._failures += 1
                error = found
                await self._settle(waiting, found, most_failures)
            else:
                self._failures = 0
                self._give(waiting, result)

    async def _named(self, piece: Piece[Any], error: Exception) -> Exception:
        """*error* with the first row of the request that fails alone, where the request has several."""
        waiting, start, stop = piece
        if waiting.frame.rows == 1 or not isinstance(error, PredmeshError) or not rows_may_be_to_blame(error):
            return error
        while stop - start > 1:
            middle = (start + stop) // 2
            if await self._fails(Piece(waiting, start, middle)):
                stop = middle
            else:
                start = middle
        if not await self._fails(Piece(waiting, start, stop)):
            return error
        text = f"{error.message} (row {start} fails on its own)"
        return type(error)(error.reason, text, **error.metadata, row=str(start))

    async def _fails(self, piece: Piece[Any]) -> bool:
        try:
            await self._run([piece])
        except Exception as error:
            return rows_may_be_to_blame(error)
        return False


def fail(pieces: Pieces, error: Exception) -> None:
    """End the requests of *pieces* with *error*, where they still wait."""
    for piece in pieces:
        if not piece.waiting.answered.done():
            piece.waiting.answered.set_exception(error)
