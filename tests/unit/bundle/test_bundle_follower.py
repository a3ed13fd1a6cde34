"""Followers of a real store, with loaders that load nothing."""

import asyncio
import os
import socket
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from predmesh_bundle.clock import Clock, FixedClock, parse_clock
from predmesh_bundle.compiling import compile_bundle
from predmesh_bundle.deploying import DeployError, Refused, TimedOut, deploy, undeploy
from predmesh_bundle.follower import Follower
from predmesh_bundle.generation import Generation, LiveModel
from predmesh_bundle.members import Acknowledgement, Member
from predmesh_bundle.store import Store, StoredBundle
from predmesh_testing.waiting import until

WriteBundle = Callable[..., Path]


@dataclass
class FakeLoader:
    """Notes what it is told; can fail or hang by bundle name and version."""

    events: list[str] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    gate: asyncio.Event | None = None
    entered: int = 0
    cancelled: int = 0
    bad_flips: int = 0

    async def load(self, bundle: StoredBundle) -> None:
        self.entered += 1
        try:
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if bundle.bundle.name in self.broken:
            raise RuntimeError(self.broken[bundle.bundle.name])
        self.held.add(bundle.bundle_id)
        self.events.append(f"load {bundle.bundle_id[:-13]}")

    async def unload(self, bundle_id: str) -> None:
        self.held.discard(bundle_id)
        self.events.append(f"unload {bundle_id[:-13]}")

    async def flip(self, generation: Generation) -> None:
        if self.bad_flips:
            self.bad_flips -= 1
            raise RuntimeError("no route")
        self.events.append(f"flip {generation.number}")


class CountingStore(Store):
    """Counts how often somebody asked who follows."""

    looks = 0

    def members(self) -> list[Member]:
        self.looks += 1
        return super().members()


class SlowStore(Store):
    """Its disk is busy with others, in what it is asked for by name."""

    busy = ""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.entered, self.free = threading.Event(), threading.Event()
        self.stuck = False

    def _wait(self, what: str) -> None:
        if what == self.busy:
            self.entered.set()
            self.stuck |= not self.free.wait(20)

    def announce(self, member: Member) -> None:
        self._wait("announce")
        super().announce(member)

    def acknowledge(self, number: int, answer: Acknowledgement) -> None:
        self._wait("acknowledge")
        super().acknowledge(number, answer)

    def clock(self) -> Clock:
        self._wait("clock")
        return super().clock()

    def leave(self, instance: str) -> None:
        self._wait("leave")
        super().leave(instance)


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


class Compiled(list[object]):
    """What a bundle was compiled into: it refers to itself, and can be watched."""


async def test_nothing_of_an_unloaded_bundle_is_kept(store: Store, write_bundle: WriteBundle) -> None:
    compiled: list[weakref.ref[object]] = []

    class CompilingLoader(FakeLoader):
        async def load(self, bundle: StoredBundle) -> None:
            await super().load(bundle)
            of_itself = Compiled([bundle])
            of_itself.append(of_itself)
            compiled.extend((weakref.ref(of_itself), weakref.ref(bundle)))

    async with following(store, CompilingLoader()) as follower:
        await in_thread(deploy, store, write_bundle())
        await until(follower.ready)
        await in_thread(undeploy, store, "wine")
        await until(lambda: [each() for each in compiled] == [None, None])


async def test_undeploy_drains_and_unloads(store: Store, write_bundle: WriteBundle) -> None:
    loader = FakeLoader()
    async with following(store, loader):
        await in_thread(deploy, store, write_bundle())
        assert (await in_thread(undeploy, store, "wine")).models == ()
        await until(lambda: loader.events[-1] == "unload wine-1")


async def test_nothing_is_unloaded_before_it_has_drained(store: Store, write_bundle: WriteBundle) -> None:
    loader = FakeLoader()
    async with following(store, loader, drain_seconds=0.3) as follower:
        await in_thread(deploy, store, write_bundle())
        begin = asyncio.get_running_loop().time()
        await in_thread(undeploy, store, "wine")
        await until(lambda: follower.generation.number == 2)
        assert "unload wine-1" not in loader.events
        await until(lambda: "unload wine-1" in loader.events)
        assert asyncio.get_running_loop().time() - begin >= 0.3


async def test_nothing_is_unloaded_while_another_member_may_route_to_it(
    store: Store, write_bundle: WriteBundle
) -> None:
    def announce(number: int) -> None:
        store.announce(Member("prediction-1", "prediction", os.getpid(), time.time(), socket.gethostname(), number))

    loader, watched = FakeLoader(), CountingStore(store.root)
    async with following(watched, loader) as follower:
        await in_thread(deploy, store, write_bundle())
        announce(1)
        undeploying = asyncio.create_task(in_thread(undeploy, store, "wine"))
        await until(lambda: follower.generation.number == 2)
        looks = watched.looks
        await until(lambda: watched.looks > looks + 3)
        assert "unload wine-1" not in loader.events
        announce(2)
        await until(lambda: "unload wine-1" in loader.events)
        await undeploying


async def test_a_bundle_that_comes_back_while_it_drains_stays(store: Store, write_bundle: WriteBundle) -> None:
    loader = FakeLoader()
    async with following(store, loader, drain_seconds=30) as follower:
        await in_thread(deploy, store, write_bundle())
        await in_thread(undeploy, store, "wine")
        await in_thread(deploy, store, write_bundle())
        await until(follower.ready)
    assert loader.events == ["flip 0", "load wine-1", "flip 1", "flip 2", "flip 3"]


async def test_a_live_bundle_that_fails_is_tried_again(store: Store, write_bundle: WriteBundle) -> None:
    await in_thread(deploy, store, write_bundle())
    loader = FakeLoader(broken={"wine": "no memory"})
    async with following(store, loader) as follower:
        await until(lambda: follower.problem() is not None)
        assert "wine-1" in str(follower.problem())
        assert "no memory" in str(follower.problem())
        assert not follower.ready()
        loader.broken.clear()
        await until(follower.ready)
    assert loader.events == ["flip 1", "load wine-1"]


async def test_one_broken_bundle_does_not_hold_back_the_others(store: Store, write_bundle: WriteBundle) -> None:
    await in_thread(deploy, store, write_bundle())
    await in_thread(deploy, store, write_bundle(folder="beer", name="beer"))
    loader = FakeLoader(broken={"beer": "no hops"})
    async with following(store, loader):
        await until(lambda: "flip 2" in loader.events)
    assert loader.events == ["load wine-1", "flip 2"]


async def test_a_broken_live_bundle_does_not_keep_a_new_one_out(store: Store, write_bundle: WriteBundle) -> None:
    await in_thread(deploy, store, write_bundle())
    async with following(store, FakeLoader(broken={"wine": "no memory"})):
        generation = await in_thread(deploy, store, write_bundle(folder="beer", name="beer"))
    assert generation.number == 2


async def test_bundles_are_loaded_side_by_side(store: Store, write_bundle: WriteBundle) -> None:
    await in_thread(deploy, store, write_bundle())
    await in_thread(deploy, store, write_bundle(folder="beer", name="beer"))
    loader = FakeLoader(gate=asyncio.Event())
    async with following(store, loader) as follower:
        await until(lambda: loader.entered == 2)
        assert loader.gate is not None
        loader.gate.set()
        await until(follower.ready)


async def test_a_refused_bundle_can_be_deployed_again(store: Store, write_bundle: WriteBundle) -> None:
    loader = FakeLoader(broken={"wine": "no memory"})
    async with following(store, loader):
        with pytest.raises(Refused):
            await in_thread(deploy, store, write_bundle())
        loader.broken.clear()
        assert (await in_thread(deploy, store, write_bundle())).number == 2


async def test_what_an_abandoned_load_began_is_let_go(store: Store, write_bundle: WriteBundle) -> None:
    loader = FakeLoader(gate=asyncio.Event())
    async with following(store, loader):
        with pytest.raises(TimedOut):
            await in_thread(deploy, store, write_bundle(), timeout_seconds=0.1)
        await until(lambda: loader.events[-1] == "unload wine-1")
    assert "load wine-1" not in loader.events


async def test_a_flip_that_fails_is_tried_again(store: Store, write_bundle: WriteBundle) -> None:
    loader = FakeLoader(bad_flips=1)
    async with following(store, loader) as follower:
        await until(lambda: follower.problem() is not None)
        assert "generation 0 cannot be routed: no route" in str(follower.problem())
        await until(follower.ready)


async def test_a_damaged_store_leaves_what_is_routed(store: Store, write_bundle: WriteBundle) -> None:
    loader = FakeLoader()
    async with following(store, loader) as follower:
        await in_thread(deploy, store, write_bundle())
        await until(follower.ready)
        (store.root / "current").write_text("damaged")
        await until(lambda: "holds no number" in str(follower.problem()))
        assert (follower.ready(), follower.generation.number) == (True, 1)
        store.flip(1)
        await until(lambda: follower.problem() is None)
    assert loader.events == ["flip 0", "load wine-1", "flip 1"]


async def test_a_damaged_clock_leaves_the_last_one(store: Store) -> None:
    async with following(store, FakeLoader()) as follower:
        store.set_clock(parse_clock("2013-12-31T23:59:00Z"))
        await until(lambda: follower.clock.now().year == 2013)
        (store.root / "clock.json").write_text("{}")
        await until(lambda: follower.problem() is not None)
        assert follower.clock.now().year == 2013


async def test_a_deploy_waits_until_all_route_it(store: Store, write_bundle: WriteBundle) -> None:
    async with following(store, FakeLoader()), following(store, FakeLoader(), "prediction"):
        await in_thread(deploy, store, write_bundle())
        assert {each.generation for each in store.members()} == {1}


async def test_a_member_that_died_is_not_waited_for(store: Store, write_bundle: WriteBundle) -> None:
    store.announce(Member("dead-1", "inference", 1, 0.0))
    async with following(store, FakeLoader()):
        assert (await in_thread(deploy, store, write_bundle(), timeout_seconds=5)).number == 1
    assert store.members() == []


async def test_a_proposal_of_a_killed_deployer_is_superseded(store: Store, write_bundle: WriteBundle) -> None:
    loader = FakeLoader()
    async with following(store, loader):
        abandoned = await asyncio.to_thread(abandon, store, write_bundle(folder="beer", name="beer"))
        await until(lambda: "load beer-1" in loader.events)
        assert (await in_thread(deploy, store, write_bundle())).number == abandoned + 1
        await until(lambda: "unload beer-1" in loader.events)
    assert "flip 2" in loader.events
    assert "flip 1" not in loader.events


def abandon(store: Store, folder: Path) -> int:
    """Do what a deployer does before it is killed."""
    compile_bundle(folder, folder.parent / "abandoned")
    bundle_id = store.put(folder.parent / "abandoned").bundle_id
    model = LiveModel(name="beer", version="1", bundle_id=bundle_id, default=True)
    store.write_generation(Generation(number=1, models=(model,)))
    store.propose(1)
    return 1


async def test_leaving_the_block_ends_a_load(store: Store, write_bundle: WriteBundle) -> None:
    await in_thread(deploy, store, write_bundle())
    loader = FakeLoader(gate=asyncio.Event())
    async with following(store, loader):
        await until(lambda: loader.entered == 1)
    assert loader.cancelled == 1


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["deploy", "undeploy"]), st.sampled_from(["wine", "beer"]), st.booleans()), max_size=5
    )
)
def test_services_agree_after_any_history(
    tmp_path_factory: pytest.TempPathFactory, write_bundle: WriteBundle, steps: list[tuple[str, str, bool]]
) -> None:
    """Two services, one of which may refuse: both end at the store's generation and hold exactly its bundles."""
    asyncio.run(_history(Store(tmp_path_factory.mktemp("store")), write_bundle, steps))


async def _history(store: Store, write_bundle: WriteBundle, steps: list[tuple[str, str, bool]]) -> None:
    features, inference = FakeLoader(), FakeLoader()
    async with following(store, features) as one, following(store, inference, "inference") as two:
        for number, (step, name, refused) in enumerate(steps):
            inference.broken = {name: "refused"} if refused else {}
            before = store.current()
            try:
                if step == "deploy":
                    folder = write_bundle(folder=name, name=name, model=b"%d" % number)
                    await in_thread(deploy, store, folder, replace=True)
                else:
                    await in_thread(undeploy, store, name)
            except DeployError:
                assert store.current() == before
        await until(lambda: one.generation == two.generation == store.current())
        live = store.current().bundle_ids
        await until(lambda: features.held == live and inference.held == live)


@pytest.mark.parametrize("busy", ["announce", "acknowledge", "clock", "leave"])
async def test_the_loop_goes_on_while_the_disk_is_busy(tmp_path: Path, write_bundle: WriteBundle, busy: str) -> None:
    store = SlowStore(tmp_path / "store")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(following(store, FakeLoader()))
        store.busy = busy
        work = asyncio.create_task(stack.aclose() if busy == "leave" else in_thread(deploy, store, write_bundle()))
        await until(store.entered.is_set)  # which the loop of this test sees while the store waits
        assert not work.done()
        store.free.set()
        await work
    assert not store.stuck
