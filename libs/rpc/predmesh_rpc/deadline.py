"""The time that is left for the work at hand; set once at the server's edge, ambient below."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token

_expiry: ContextVar[float] = ContextVar("predmesh_deadline", default=math.inf)


def remaining() -> float:
    """Seconds left, 0 when none is; infinite outside of any deadline. Needs a running loop."""
    expiry = _expiry.get()
    return expiry if expiry == math.inf else max(0.0, expiry - asyncio.get_running_loop().time())


def timeout() -> float | None:
    """Seconds left as libraries take them: None outside of any deadline."""
    seconds = remaining()
    return None if seconds == math.inf else seconds


def expiry() -> float:
    """The `loop.time()` at which time runs out; infinite outside of any deadline."""
    return _expiry.get()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Allow the block *seconds*, or what is left if that is less.

    It tells those below; it does not interrupt. Interrupting is for `asyncio.timeout(deadline.timeout())`.
    """
    token = _expiry.set(min(_expiry.get(), asyncio.get_running_loop().time() + seconds))
    try:
        yield
    finally:
        _expiry.reset(token)


def set_expiry(when: float) -> Token[float]:
    """Set the expiry of the running task and what it starts, also beyond an outer one; for the edge of a server."""
    return _expiry.set(when)
