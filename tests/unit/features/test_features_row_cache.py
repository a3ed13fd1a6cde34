"""Rows kept for a while: the same answers, fewer reads, never older than allowed, and it is told how old they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from predmesh_bundle.read_plan import ReadPlan
from predmesh_features.domain import HashRead, HashValues, Lookup, Status
from predmesh_features.looking_up import FeatureReader
from predmesh_features.row_cache import RowCache
from predmesh_frame.frames import Frame
from predmesh_rpc.errors import DependencyDown
from predmesh_testing.fake_store import FakeStore

Asked = Callable[..., Frame]
Put = Callable[..., None]
FIELDS = (b"field",)


class Elapsed:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def elapsed() -> Elapsed:
    return Elapsed()


@pytest.fixture
def filled(plan: ReadPlan, put: Put) -> None:
    weather, runways, route = plan.views
    for number, airport in enumerate(("EWR", "JFK", "LGA")):
        put(weather, {"airport": airport}, {"wind": float(number), "sky": None, "temperature": 2.5}, 60 + 3000 * number)
        put(runways, {"airport": airport}, {"runways": number}, 10)
        put(route, {"airport": airport, "carrier": "UA"}, {"delay": 7.5, "flights": 2**60 + number}, 10)


def stored(store: FakeStore, *keys: bytes) -> None:
    for key in keys:
        store.hashes[key] = {b"field": b"value of " + key}


async def values(cache: RowCache, store: FakeStore, *keys: bytes) -> list[HashValues | None]:
    return list((await cache.read(store, [HashRead(keys, FIELDS)])).values[0])


def asked_keys(store: FakeStore) -> list[list[bytes]]:
    return [[key for read in reads for key in read.keys] for reads in store.reads]


def said(lookup: Lookup) -> dict[str, Any]:
    """Everything but how long ago it was read."""
    return {each.name: (each.column.to_list(), each.statuses.tolist()) for each in lookup.features} | {
        view: [None if np.isnan(age) else age for age in ages.tolist()] for view, ages in lookup.age_seconds.items()
    }


@pytest.mark.usefixtures("filled")
async def test_every_answer_is_what_it_would_be_without(
    plan: ReadPlan, store: FakeStore, asked: Asked, now: datetime, elapsed: Elapsed
) -> None:
    plain, keeping = FeatureReader(plan), FeatureReader(plan, cache=RowCache(5.0, 4, elapsed))
    for rows in (["EWR"], ["JFK", "EWR", "JFK"], ["LGA", None, "XXX"], ["XXX", "EWR"], ["EWR", "JFK", "LGA", None]):
        for at in (now, now + timedelta(hours=1), now - timedelta(days=1)):
            wanted = await plain.lookup(asked(*rows), store, now=at)
            assert said(await keeping.lookup(asked(*rows), store, now=at)) == said(wanted)
        elapsed.seconds += 1.5


async def test_only_what_is_not_kept_is_asked_of_the_store(store: FakeStore) -> None:
    cache = RowCache(5.0, 100)
    stored(store, b"a", b"b")
    assert await values(cache, store, b"a", b"unknown") == [[b"value of a"], [None]]
    assert await values(cache, store, b"unknown", b"b", b"a") == [[None], [b"value of b"], [b"value of a"]]
    await values(cache, store, b"a", b"b", b"unknown")
    assert asked_keys(store) == [[b"a", b"unknown"], [b"b"]]


async def test_other_fields_of_a_key_are_another_row(store: FakeStore) -> None:
    cache = RowCache(5.0, 100)
    stored(store, b"a")
    await values(cache, store, b"a")
    assert (await cache.read(store, [HashRead([b"a"], (b"other",))])).values == [[[None]]]


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(1, 6))
async def test_the_rows_used_last_are_kept_and_no_more(numbers: Sequence[int], most: int) -> None:
    cache, store = RowCache(5.0, most, Elapsed()), FakeStore()
    used: list[int] = []
    for number in numbers:
        reads = len(store.reads)
        await values(cache, store, b"%d" % number)
        assert (len(store.reads) == reads) == (number in used[-most:])
        used = [*(each for each in used if each != number), number]
        assert len(cache) == min(len(used), most)


async def test_a_row_is_kept_for_as_long_as_is_allowed_and_no_longer(store: FakeStore, elapsed: Elapsed) -> None:
    cache = RowCache(5.0, 100, elapsed)
    await values(cache, store, b"a")
    elapsed.seconds += 5.0
    await values(cache, store, b"a")
    assert len(store.reads) == 1
    elapsed.seconds += 0.001
    await values(cache, store, b"a")
    assert len(store.reads) == 2


@pytest.mark.usefixtures("filled")
async def test_ages_of_values_go_on_by_the_meshs_clock_and_those_of_reads_by_elapsed_time(
    plan: ReadPlan, store: FakeStore, asked: Asked, now: datetime, elapsed: Elapsed
) -> None:
    reader = FeatureReader(plan, cache=RowCache(5.0, 100, elapsed))
    first = await reader.lookup(asked("EWR"), store, now=now)
    assert first.read_ages is None
    elapsed.seconds += 2.0
    later = await reader.lookup(asked("EWR", "JFK", None), store, now=now + timedelta(hours=1))
    assert later.age_seconds["weather"].tolist()[:2] == [3660.0, 6660.0]
    assert later.read_ages is not None
    assert dict(zip(later.views, later.read_ages.tolist(), strict=True)) == {
        "weather": [2.0, 0.0, 0.0],
        "runways": [2.0, 0.0, 0.0],
        "route": [2.0, 0.0, 0.0],
    }


@pytest.mark.usefixtures("filled")
async def test_a_kept_value_outlives_its_time_to_live_by_no_moment(
    plan: ReadPlan, store: FakeStore, asked: Asked, now: datetime
) -> None:
    reader = FeatureReader(plan, cache=RowCache(3600.0, 100))
    for at, status in [(3540, Status.PRESENT), (3541, Status.OUTSIDE_MAX_AGE), (0, Status.PRESENT)]:
        lookup = await reader.lookup(asked("EWR"), store, now=now + timedelta(seconds=at))
        assert next(each for each in lookup.features if each.name == "wind").statuses.tolist() == [status]
    assert len(store.reads) == 1


async def test_where_the_meshs_clock_stands_still_rows_are_read_anew_all_the_same(
    plan: ReadPlan, store: FakeStore, asked: Asked, now: datetime, elapsed: Elapsed
) -> None:
    reader = FeatureReader(plan, cache=RowCache(5.0, 100, elapsed))
    for _ in range(3):
        await reader.lookup(asked("EWR"), store, now=now)
        elapsed.seconds += 6.0
    assert len(store.reads) == 3


async def test_what_was_written_is_read_anew(store: FakeStore) -> None:
    cache = RowCache(5.0, 100)
    await values(cache, store, b"a", b"b")
    cache.forget([b"a", b"never read"])
    await values(cache, store, b"a", b"b")
    assert asked_keys(store) == [[b"a", b"b"], [b"a"]]


async def test_what_is_written_while_it_is_read_is_not_kept_as_it_was(store: FakeStore) -> None:
    cache = RowCache(5.0, 100)
    store.gate.clear()
    reading = asyncio.create_task(values(cache, store, b"a"))
    await store.entered.wait()
    cache.forget([b"a"])
    store.gate.set()
    await reading
    assert len(cache) == 0


async def test_kept_rows_answer_while_the_store_is_down(store: FakeStore) -> None:
    cache = RowCache(5.0, 100)
    stored(store, b"a")
    await values(cache, store, b"a")
    store.down = True
    assert await values(cache, store, b"a") == [[b"value of a"]]
    with pytest.raises(DependencyDown):
        await values(cache, store, b"a", b"b")


async def test_a_row_that_its_server_did_not_give_is_not_kept(store: FakeStore) -> None:
    class Lame(FakeStore):
        async def read(self, reads: Sequence[HashRead]) -> Any:
            return [[None for _ in each.keys] for each in reads]

    cache = RowCache(5.0, 100)
    assert await values(cache, Lame(), b"a") == [None]
    assert await values(cache, store, b"a") == [[None]]
