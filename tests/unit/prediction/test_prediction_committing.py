"""Group commit on a loop: what waits while a batch travels goes together."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from predmesh_frame import Column, DataType, Frame
from predmesh_prediction.batching import Limits, Trip, Waiting
from predmesh_prediction.committing import GroupCommit
from predmesh_rpc import context, deadline, metrics
from predmesh_rpc.errors import DeadlineExceeded, DependencyDown, FailedPrecondition, TooMuch


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


async def test_the_next_batch_is_on_its_way_before_answers_are_written() -> None:
    road = Road()

    async def answered() -> int:
        await values(group, 1)
        return len(road.batches)

    async with commit(road, in_flight=1) as group:
        first = asyncio.create_task(answered())
        await road.left.get()
        second = asyncio.create_task(values(group, 2))
        await asyncio.sleep(0)
        road.gate.set()
        assert await first == 2
        assert await second == [20]


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


async def test_whose_time_is_over_before_it_waits_is_late_and_not_one_too_many() -> None:
    road = Road()
    async with commit(road) as group:
        with deadline.within(0), pytest.raises(DeadlineExceeded, match="allow more time"):
            await group.submit(frame(1), 5.0)
    assert road.batches == []


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


async def test_a_batch_that_takes_too_long_lets_another_go() -> None:
    road = Road()
    async with commit(road, in_flight=2, max_batch_rows=1) as group:
        tasks = [asyncio.create_task(values(group, n)) for n in (1, 2, 3)]
        await road.left.get()
        await road.left.get()
        assert road.batches == [[1], [2]]
        road.gate.set()
        assert await asyncio.gather(*tasks) == [[10], [20], [30]]


async def test_a_model_that_does_not_answer_holds_up_no_other() -> None:
    stuck, free = Road(), Road()
    free.gate.set()
    async with commit(stuck, in_flight=1) as slow, commit(free, in_flight=1) as quick:
        waiting = [asyncio.create_task(values(slow, n)) for n in range(20)]
        await stuck.left.get()
        assert await asyncio.gather(*(values(quick, n) for n in range(20))) == [[n * 10] for n in range(20)]
        assert not any(each.done() for each in waiting)
        stuck.gate.set()
        await asyncio.gather(*waiting)


async def test_parts_that_come_back_in_another_order_are_put_right() -> None:
    first = asyncio.Event()

    async def run(batch: Frame) -> list[int]:
        if 0 in (found := batch.columns["v"].values.tolist()):
            await first.wait()
        else:
            first.set()
        return [value * 10 for value in found]

    async with asyncio.TaskGroup() as tasks:
        group = GroupCommit(run, Limits(max_batch_rows=2, in_flight=2), tasks, name="test")
        assert await values(group, 0, 1, 2, 3, 4) == [0, 10, 20, 30, 40]


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


@dataclass
class Fragile:
    """Fails on the values it is told to; keeps what it was given."""

    bad: set[int]
    error: Exception = field(default_factory=lambda: FailedPrecondition("ERROR_REASON_MODEL_FAILED", "it stumbled"))
    batches: list[list[int]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    entered: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, batch: Frame) -> list[int]:
        found = batch.columns["v"].values.tolist()
        self.batches.append(found)
        self.entered.set()
        await self.gate.wait()
        if self.bad & set(found):
            raise self.error
        return [value * 10 for value in found]


async def together(model: Fragile, requests: list[list[int]]) -> list[Any]:
    """What becomes of *requests* that travel in one batch, behind one that holds the road."""
    async with asyncio.TaskGroup() as tasks:
        group = GroupCommit(model.run, Limits(max_batch_rows=1000, in_flight=1), tasks, name="test")
        ahead = asyncio.create_task(values(group, -1))
        await model.entered.wait()
        others = [asyncio.create_task(values(group, *rows)) for rows in requests]
        await asyncio.sleep(0)
        model.gate.set()
        await ahead
        return await asyncio.gather(*others, return_exceptions=True)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=24), st.data())
@settings(max_examples=40, deadline=None, derandomize=True)
async def test_bad_rows_fail_their_own_requests_and_no_others(sizes: list[int], data: st.DataObject) -> None:
    numbers = iter(range(1000))
    requests = [[next(numbers) for _ in range(size)] for size in sizes]
    bad = data.draw(st.sets(st.sampled_from([row for rows in requests for row in rows]), max_size=2))
    model = Fragile(bad)
    for rows, answer in zip(requests, await together(model, requests), strict=True):
        if not bad & set(rows):
            assert answer == [row * 10 for row in rows]
        else:
            assert isinstance(answer, FailedPrecondition)
            assert len(rows) == 1 or rows[int(answer.metadata["row"])] in bad
    assert len(model.batches) <= 2 + len(bad) * (2 * len(sizes).bit_length() + 5)


async def test_the_error_names_the_row() -> None:
    (_, answer) = await together(Fragile({7}), [[1, 2], [5, 6, 7, 8]])
    assert isinstance(answer, FailedPrecondition)
    assert answer.metadata["row"] == "2"
    assert "row 2 fails on its own" in answer.message


@pytest.mark.parametrize("kind", [DependencyDown, DeadlineExceeded, TooMuch, TimeoutError])
async def test_what_no_row_can_cause_is_not_looked_for(kind: type[Exception]) -> None:
    error = kind("ERROR_REASON_STAGE_DOWN", "down")
    model = Fragile({3}, error)
    assert await together(model, [[n] for n in range(8)]) == [error] * 8
    assert len(model.batches) == 2


async def test_a_model_that_fails_always_is_asked_few_times_more() -> None:
    model = Fragile(set(range(64)))
    answers = await together(model, [[n] for n in range(64)])
    assert all(isinstance(each, FailedPrecondition) for each in answers)
    assert len(model.batches) <= 2 + 2 * (64).bit_length() + 2


async def test_who_has_gone_is_not_looked_for() -> None:
    entered, gate, batches = asyncio.Event(), asyncio.Event(), []

    async def run(batch: Frame) -> list[int]:
        batches.append(found := batch.columns["v"].values.tolist())
        if len(found) == 2:
            entered.set()
            await gate.wait()
        if 1 in found:
            raise FailedPrecondition("ERROR_REASON_MODEL_FAILED", "it stumbled")
        return [value * 10 for value in found]

    async with asyncio.TaskGroup() as tasks:
        group = GroupCommit(run, Limits(), tasks, name="test")
        gone, stays = asyncio.create_task(values(group, 1)), asyncio.create_task(values(group, 2))
        await entered.wait()
        gone.cancel()
        await asyncio.wait([gone])
        gate.set()
        assert await stays == [20]
    assert batches == [[1, 2], [2]]


async def test_looking_for_the_row_ends_when_nobody_waits_any_more() -> None:
    looking, ended = asyncio.Event(), asyncio.Event()

    async def run(batch: Frame) -> list[int]:
        found = batch.columns["v"].values.tolist()
        if found == [2]:
            looking.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
        if 2 in found:
            raise FailedPrecondition("ERROR_REASON_MODEL_FAILED", "it stumbled")
        return [value * 10 for value in found]

    async with asyncio.TaskGroup() as tasks:
        group = GroupCommit(run, Limits(), tasks, name="test")
        answered, gone = asyncio.create_task(values(group, 1)), asyncio.create_task(values(group, 2))
        await looking.wait()
        assert await answered == [10]
        gone.cancel()
        await ended.wait()


async def test_rows_that_leave_make_room_in_the_queue() -> None:
    road = Road()
    async with commit(road, max_queue_rows=3, in_flight=1) as group:
        first = asyncio.create_task(values(group, 1))
        await road.left.get()
        late = asyncio.create_task(values(group, 2, 3, 4, seconds=0.02))
        with pytest.raises(DeadlineExceeded):
            await late
        second = asyncio.create_task(values(group, 5, 6, 7))
        await asyncio.sleep(0)
        road.gate.set()
        assert [await first, await second] == [[10], [50, 60, 70]]
    assert road.batches == [[1], [5, 6, 7]]


async def test_one_request_may_always_wait_however_large() -> None:
    road = Road()
    async with commit(road, max_queue_rows=3, in_flight=1) as group:
        first = asyncio.create_task(values(group, 1))
        await road.left.get()
        second = asyncio.create_task(values(group, *range(9)))
        await asyncio.sleep(0)
        road.gate.set()
        await asyncio.gather(first, second)


async def test_what_cannot_be_done_in_time_is_refused_at_once() -> None:
    road = Road()
    road.gate.set()
    async with commit(road, max_batch_rows=2, in_flight=1) as group:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for n in range(8):
            road.gate.clear()
            known = asyncio.create_task(values(group, n))
            await road.left.get()
            loop.call_later(0.02, road.gate.set)
            await known
        quickest = (loop.time() - began) / 8
        road.gate.clear()
        tasks = [asyncio.create_task(values(group, n)) for n in range(9)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(TooMuch) as caught:
            await values(group, 9, seconds=0.02)
        road.gate.set()
        patient = await values(group, 9, seconds=100 * quickest)
        await asyncio.gather(*tasks)
    assert patient == [90]
    assert int(caught.value.metadata["queuedRows"]) >= 6
    assert caught.value.retry_after_seconds >= 0.05


async def test_a_request_is_not_refused_for_its_time_alone() -> None:
    road = Road()
    road.gate.set()
    async with commit(road) as group:
        for n in range(10):
            assert await values(group, n) == [n * 10]
        assert await values(group, *range(2000), seconds=0.5) == [n * 10 for n in range(2000)]


def sample(name: str) -> float | None:
    return metrics.registry().get_sample_value(name, {"batches": "test"})


async def test_operators_see_batches_and_queue() -> None:
    road = Road()
    async with commit(road, in_flight=1) as group:
        first = asyncio.create_task(values(group, 1))
        await road.left.get()
        second = asyncio.create_task(values(group, 2, 3))
        await asyncio.sleep(0)
        before = sample("predmesh_prediction_batch_rows_count")
        assert sample("predmesh_prediction_queued_rows") == 2
        assert sample("predmesh_prediction_batches_in_flight") == 1
        assert sample("predmesh_prediction_batches_allowed") == 1
        road.gate.set()
        await asyncio.gather(first, second)
        assert before is not None
        assert sample("predmesh_prediction_batch_rows_count") == before + 1
        group.forget()
        assert sample("predmesh_prediction_queued_rows") is None


async def test_what_travelled_is_freed_without_a_collection() -> None:
    road = Road()
    road.gate.set()
    gc.collect()
    gc.disable()
    try:
        async with commit(road) as group:
            assert await values(group, 1, 2) == [10, 20]
            await group.drained()
        assert not [each for each in gc.get_objects() if isinstance(each, Trip | Waiting)]
    finally:
        gc.enable()
