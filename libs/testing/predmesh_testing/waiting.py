"""Waiting for what tells nobody: files, processes, the state of a service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

_LOOK_SECONDS = 0.01


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Return once *condition* holds.

    Raises:
        AssertionError: it did not within *seconds*.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition never came true"
        await asyncio.sleep(_LOOK_SECONDS)


def until_then(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """The same where there is no loop."""
    asyncio.run(until(condition, seconds))
