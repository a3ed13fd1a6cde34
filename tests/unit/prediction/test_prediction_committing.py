"""Group commit on a loop: what waits while a batch travels goes together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
from predmesh_frame import Column, DataType, Frame
from predmesh_prediction.batching import Limits
from predmesh_prediction.committing import GroupCommit
from predmesh_rpc import context, deadline
from predmesh_rpc.errors import DeadlineExceeded, DependencyDown, TooMuch


def frame(*values: int) -> Frame:
    return Frame.of({"v": Column(DataType.INT64, np.array(values, np.int64))})


@dataclass
class Road:
    """Where batches travel; each waits for the gate."""

    batches: list[list[int]] = field(default_factory=list)
    remaining: list[float] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Queue[int] = field(default_factory=asyncio.Queue)
    error: Exception | None = None
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, batch: Frame) -> list[int]:
        values = batch.columns["v"].values.tolist()
        self.batches.append(values)
        self.remaining.append(deadline.remaining())
        self.ids.append(context.request_id())
        self.left.put_nowait(len(values))
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        if self.error:
            raise self.error
        return [value * 10 for value in values]


@asynccontextmanager
async def commit(road: Road, **limits: int) -> AsyncIterator[GroupCommit[list[int]]]:
    async with asyncio.TaskGroup() as tasks:
        yield GroupCommit(road.run, Limits(**limits), tasks, name="test")


async def values(group: GroupCommit[list[int]], *rows: int, seconds: float = 5.0) -> list[int]:
    parts = await group.submit(frame(*rows), seconds)
    return [value for part in parts for value in part.result[part.start : part.stop]]


async def test_a_request_leaves_at_once_and_the_rest_goes_together() -> None:
    road = Road()
    async with commit(road) as group:
        first = asyncio.create_task(values(group, 1))
        await road.left.get()
        others = [asyncio.create_task(values(group, n, n + 10)) for n in (2, 3, 4)]
        await asyncio.sleep(0)
        road.gate.set()
        assert await first == [10]
        assert [await each for each in others] == [[20, 120], [30, 130], [40, 140]]
    assert road.batches == [[1], [2, 12, 3, 13, 4, 14]]


async def test_a_large_request_travels_in_parts_and_comes_back_whole() -> None:
    road = Road()
    road.gate.set()
    async with commit(road, max_batch_rows=3) as group:
        assert await values(group, *range(8)) == [n * 10 for n in range(8)]
    assert [len(batch) for batch in road.batches] == [3, 3, 2]


async def test_an_error_of_a_batch_reaches_each_request_of_it() -> None:
    road = Road(error=DependencyDown("ERROR_REASON_STAGE_DOWN", "down"))
    async with commit(road) as group:
        tasks = [asyncio.create_task(values(group, n)) for n in (1, 2)]
        await road.left.get()
        road.gate.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, DependencyDown) for each in found)
    assert road.batches == [[1, 2]]


async def test_a_full_queue_refuses_and_says_when_to_come_again() -> None:
    road = Road()
    async with commit(road, max_queue_rows=3) as group:
        first = asyncio.create_task(values(group, 1))
        await road.left.get()
        second = asyncio.create_task(values(group, 2, 3))
        await asyncio.sleep(0)
        with pytest.raises(TooMuch) as caught:
            await values(group, 4, 5)
        road.gate.set()
        await asyncio.gather(first, second)
    assert caught.value.metadata == {"queuedRows": "2", "limitRows": "3"}
    assert 0 < caught.value.retry_after_seconds <= 10


async def test_a_request_that_was_cancelled_while_it_waited_costs_nothing() -> None:
    road = Road()
    async with commit(road) as group:
        first = asyncio.create_task(values(group, 1))
        await road.left.get()
        gone, stays = asyncio.create_task(values(group, 2)), asyncio.create_task(values(group, 3))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait([gone])
        road.gate.set()
        await asyncio.gather(first, stays)
    assert road.batches == [[1], [3]]


async def test_a_batch_that_nobody_waits_for_is_cancelled() -> None:
    road = Road()
    async with commit(road) as group:
        tasks = [asyncio.create_task(values(group, n)) for n in (1, 2)]
        await road.left.get()
        for each in tasks:
            each.cancel()
        await road.cancelled.wait()
        road.gate.set()
        assert await values(group, 3) == [30]


async def test_a_batch_goes_on_while_one_still_waits_for_it() -> None:
    road = Road()
    async with commit(road) as group:
        gone, stays = asyncio.create_task(values(group, 1)), asyncio.create_task(values(group, 2))
        await road.left.get()
        gone.cancel()
        await asyncio.wait([gone])
        road.gate.set()
        assert await stays == [20]
    assert not road.cancelled.is_set()


async def test_a_request_ends_at_its_own_deadline_and_alone() -> None:
    road = Road()
    async with commit(road) as group:
        long, short = asyncio.create_task(values(group, 1)), asyncio.create_task(values(group, 2, seconds=0.02))
        with pytest.raises(DeadlineExceeded) as caught:
            await short
        road.gate.set()
        assert await long == [10]
    assert caught.value.metadata == {"budgetSeconds": "0.02"}


async def test_a_batch_may_take_as_long_as_its_most_patient_request() -> None:
    road = Road()
    road.gate.set()
    async with commit(road) as group:
        await asyncio.gather(values(group, 1, seconds=1), values(group, 2, seconds=60), values(group, 3, seconds=2))
    assert 55 < road.remaining[0] <= 60


async def test_a_batch_carries_the_id_of_the_request_it_leads_with() -> None:
    road = Road()

    async def ask(id: str, value: int) -> list[int]:
        context.enter(context.Request(id=id))
        return await values(group, value)

    async with commit(road) as group:
        first = asyncio.create_task(ask("a", 1))
        await road.left.get()
        others = [asyncio.create_task(ask(id, 2)) for id in ("b", "c")]
        await asyncio.sleep(0)
        road.gate.set()
        await asyncio.gather(first, *others)
    assert road.ids == ["a", "b"]


async def test_two_batches_travel_at_once_where_that_is_allowed() -> None:
    road = Road()
    async with commit(road, in_flight=2, max_batch_rows=1) as group:
        tasks = [asyncio.create_task(values(group, n)) for n in (1, 2, 3)]
        await road.left.get()
        await road.left.get()
        assert road.batches == [[1], [2]]
        road.gate.set()
        assert await asyncio.gather(*tasks) == [[10], [20], [30]]


async def test_drained_waits_for_what_is_under_way() -> None:
    road = Road()
    async with commit(road) as group:
        await group.drained()
        task = asyncio.create_task(values(group, 1))
        await road.left.get()
        draining = asyncio.create_task(group.drained())
        await asyncio.sleep(0)
        assert not draining.done()
        road.gate.set()
        await asyncio.gather(task, draining)
