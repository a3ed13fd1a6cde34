"""Works on the items of a stream at once, a bounded number of them, and gives the results in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


async def in_order(
    items: AsyncIterable[_Item], work: Callable[[int, _Item], Awaitable[_Result]], *, window: int
) -> AsyncGenerator[_Result, None]:
    """The result of *work* on each item and its index, in order; at most *window* are under way or wait to be taken."""
    room = asyncio.Semaphore(window)
    begun: asyncio.Queue[asyncio.Task[_Result] | None] = asyncio.Queue()
    tasks: set[asyncio.Task[_Result]] = set()

    async def one(index: int, item: _Item) -> _Result:
        return await work(index, item)

    async def begin() -> None:
        index = 0
        try:
            await room.acquire()
            async for item in items:
                task = asyncio.create_task(one(index, item))
                tasks.add(task)
                begun.put_nowait(task)
                index += 1
                await room.acquire()
        finally:
            begun.put_nowait(None)

    reader = asyncio.create_task(begin())
    try:
        while (task := await begun.get()) is not None:
            yield await task
            tasks.discard(task)
            room.release()
        await reader
    finally:
        for each in (reader, *tasks):
            each.cancel()
        await asyncio.gather(reader, *tasks, return_exceptions=True)
