"""Threads for work that would hold up the event loop: in turn, in time, and never more than asked for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextvars import ContextVar

import pytest
from predmesh_rpc import deadline
from predmesh_rpc.errors import DeadlineExceeded, TooMuch
from predmesh_rpc.workers import Workers

ambient: ContextVar[str] = ContextVar("ambient", default="")


class Gate:
    """Work that waits until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.go_on = threading.Event()

    def __call__(self) -> str:
        self.entered.set()
        assert self.go_on.wait(20)
        return "done"


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    async with Workers("testing", limit_rows=10) as found:
        yield found


@pytest.fixture
async def gate(workers: Workers) -> AsyncIterator[Gate]:
    found = Gate()
    yield found
    found.go_on.set()


async def begun(gate: Gate) -> None:
    assert await asyncio.to_thread(gate.entered.wait, 10)


async def test_work_runs_in_a_thread_with_the_callers_context(workers: Workers):
    ambient.set("here")
    name, seen = await workers.run(lambda: (threading.current_thread().name, ambient.get()))
    assert name.startswith("predmesh-testing")
    assert seen == "here"


async def test_what_work_raises_reaches_the_caller(workers: Workers):
    with pytest.raises(ZeroDivisionError):
        await workers.run(lambda: 1 // 0)


async def test_a_timeout_of_the_works_own_is_not_the_callers(workers: Workers):
    def late() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        await workers.run(late)


async def test_the_deadline_ends_the_wait_and_the_rows_still_count(workers: Workers, gate: Gate):
    with deadline.within(0.2), pytest.raises(DeadlineExceeded) as caught:
        await workers.run(gate, rows=4)
    assert caught.value.metadata == {"stage": "testing"}
    assert workers.queued_rows == 4


async def test_work_that_never_began_never_will(workers: Workers, gate: Gate):
    first = asyncio.create_task(workers.run(gate))
    await begun(gate)
    ran = threading.Event()
    with deadline.within(0.05), pytest.raises(DeadlineExceeded):
        await workers.run(ran.set)
    gate.go_on.set()
    assert await first == "done"
    await workers.run(lambda: None)
    assert not ran.is_set()
    assert workers.queued_rows == 0


async def test_more_rows_than_may_wait_are_refused_until_there_is_room(workers: Workers, gate: Gate):
    first = asyncio.create_task(workers.run(gate, rows=6))
    await begun(gate)
    with pytest.raises(TooMuch) as caught:
        await workers.run(lambda: None, rows=5)
    assert caught.value.metadata == {"queuedRows": "6", "limitRows": "10"}
    gate.go_on.set()
    await first
    await workers.run(lambda: None, rows=5)


async def test_a_single_piece_may_be_larger_than_the_queue(workers: Workers):
    assert await workers.run(lambda: "done", rows=1000) == "done"


async def test_a_callers_cancel_gives_up_what_has_not_begun(workers: Workers, gate: Gate):
    first = asyncio.create_task(workers.run(gate))
    await begun(gate)
    second = asyncio.create_task(workers.run(lambda: None, rows=3))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert workers.queued_rows == 1
    gate.go_on.set()
    await first
