"""Followers of a real store, with loaders that load nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from predmesh_bundle.clock import FixedClock, parse_clock
from predmesh_bundle.deploying import Refused, TimedOut, deploy, undeploy
from predmesh_bundle.follower import Follower
from predmesh_bundle.generation import Generation
from predmesh_bundle.store import Store, StoredBundle

WriteBundle = Callable[..., Path]


@dataclass
class FakeLoader:
    """Notes what it is told; can fail or hang by bundle name and version."""

    events: list[str] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    gate: asyncio.Event | None = None
    loading: asyncio.Event = field(default_factory=asyncio.Event)

    async def load(self, bundle: StoredBundle) -> None:
        self.loading.set()
        if self.gate is not None:
            await self.gate.wait()
        if bundle.bundle.name in self.broken:
            raise RuntimeError(self.broken[bundle.bundle.name])
        self.events.append(f"load {bundle.bundle_id[:-13]}")

    async def unload(self, bundle_id: str) -> None:
        self.events.append(f"unload {bundle_id[:-13]}")

    async def flip(self, generation: Generation) -> None:
        self.events.append(f"flip {generation.number}")


@asynccontextmanager
async def following(
    store: Store, loader: FakeLoader, service: str = "features", *, drain_seconds: float = 0.0
) -> AsyncIterator[Follower]:
    async with Follower(
        store,
        service=service,
        instance=f"{service}-1",
        loader=loader,
        poll_seconds=0.005,
        drain_seconds=drain_seconds,
    ) as follower:
        await until(lambda: any(each.service == service for each in store.members()))
        yield follower


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what others write into files wakes nobody
            await asyncio.sleep(0.002)


async def in_thread(function: Callable[..., Generation], *args: object, **options: object) -> Generation:
    return await asyncio.to_thread(function, *args, **options)


async def test_a_deploy_loads_then_flips(store: Store, write_bundle: WriteBundle) -> None:
    loader = FakeLoader()
    async with following(store, loader) as follower:
        await in_thread(deploy, store, write_bundle())
        await until(follower.ready)
    assert loader.events == ["flip 0", "load wine-1", "flip 1"]


async def test_what_is_old_is_unloaded_after_the_flip(store: Store, write_bundle: WriteBundle) -> None:
    loader = FakeLoader()
    async with following(store, loader):
        await in_thread(deploy, store, write_bundle())
        await in_thread(deploy, store, write_bundle(model=b"better"), replace=True)
        await until(lambda: "unload wine-1" in loader.events)
    assert loader.events[3:] == ["load wine-1", "flip 2", "unload wine-1"]


async def test_a_failure_leaves_what_was_live(store: Store, write_bundle: WriteBundle) -> None:
    loader = FakeLoader(broken={"beer": "no hops"})
    async with following(store, loader) as follower:
        await in_thread(deploy, store, write_bundle())
        with pytest.raises(Refused, match=r"features \(features-1\) says: .*no hops"):
            await in_thread(deploy, store, write_bundle(folder="beer", name="beer"))
        assert store.current().number == 1
        assert store.proposed() is None
        await until(lambda: "unload beer-1" in loader.events)
        assert follower.ready()


async def test_a_late_joiner_catches_up(store: Store, write_bundle: WriteBundle) -> None:
    await in_thread(deploy, store, write_bundle())
    loader = FakeLoader()
    async with following(store, loader) as follower:
        await until(follower.ready)
    assert loader.events == ["load wine-1", "flip 1"]


async def test_one_service_that_hangs_holds_all_back(store: Store, write_bundle: WriteBundle) -> None:
    quick, slow = FakeLoader(), FakeLoader(gate=asyncio.Event())
    async with following(store, quick), following(store, slow, "inference"):
        with pytest.raises(TimedOut, match=r"inference \(inference-1\) did not answer within 0.2 s"):
            await in_thread(deploy, store, write_bundle(), timeout_seconds=0.2)
        await until(lambda: "unload wine-1" in quick.events)
    assert store.current().number == 0
    assert "flip 1" not in quick.events


async def test_a_member_file_goes_with_its_follower(store: Store) -> None:
    async with following(store, FakeLoader()):
        assert [each.instance for each in store.members()] == ["features-1"]
    assert store.members() == []


async def test_the_clock_follows(store: Store) -> None:
    async with following(store, FakeLoader()) as follower:
        clock = parse_clock("2013-12-31T23:59:00Z")
        store.set_clock(clock)
        assert isinstance(clock, FixedClock)
        await until(lambda: follower.clock.now() == clock.time)


async def test_undeploy_drains_and_unloads(store: Store, write_bundle: WriteBundle) -> None:
    loader = FakeLoader()
    async with following(store, loader):
        await in_thread(deploy, store, write_bundle())
        assert (await in_thread(undeploy, store, "wine")).models == ()
        await until(lambda: loader.events[-1] == "unload wine-1")
