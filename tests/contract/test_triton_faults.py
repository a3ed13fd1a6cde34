"""What Triton does not recover from by itself, provoked on a real one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import predmesh_runtime
import pytest
from predmesh_bundle.generation import EMPTY
from predmesh_bundle.schema import Bundle, Input, Output
from predmesh_bundle.store import StoredBundle
from predmesh_frame import DataType
from predmesh_inference.agent import Agent, AgentLimits
from predmesh_inference.domain import LoadFailed, ServerUnsound, State
from predmesh_inference.installation import environment_folder
from predmesh_inference.planning import plan
from predmesh_inference.repository import Repository
from predmesh_inference.stubs import find_stubs, listener_pid, stubs_of
from predmesh_inference.triton_server import TritonLimits, TritonServer
from predmesh_inference.tritonserver import SHARED_MEMORY
from predmesh_rpc.channels import connect
from predmesh_rpc.errors import DependencyDown, FailedPrecondition
from predmesh_testing.triton import RunningTriton, needs_triton, start_triton, triton_of_its_own
from predmesh_testing.triton import triton as triton  # a fixture
from predmesh_testing.waiting import until

pytestmark = needs_triton

MODEL = """
import os, pathlib, signal

class Model:
    def __init__(self, folder):
        if (pathlib.Path(BESIDE) / "stall").exists():
            os.kill(os.getpid(), signal.SIGSTOP)

    def infer(self, tensors):
        return {"y": tensors["x"] * 2}
"""
TENSOR = {"datatype": "FP32", "shape": (1,)}


def stored(folder: Path, name: str, *, instances: int = 1) -> StoredBundle:
    """A bundle that doubles a number; while its folder holds `stall`, it stops while it loads."""
    folder.mkdir(exist_ok=True)
    (folder / "double.py").write_text(MODEL.replace("BESIDE", repr(str(folder))))
    inference = {
        "framework": "python",
        "file": "double.py",
        "inputs": [{"name": "x", **TENSOR}],
        "outputs": [{"name": "y", **TENSOR}],
        "instances": instances,
    }
    bundle = Bundle(
        name=name,
        version="1",
        owner="tests",
        description="Doubles",
        inputs=(Input(name="x", type=DataType.FLOAT, shape=(1,), example=[2.0]),),
        inference=inference,  # type: ignore[arg-type]
        outputs=(Output(name="y", type=DataType.FLOAT, tensor="y", index=0),),
    )
    bundle_id = f"{name}-1-{'0' * 12}"
    return StoredBundle(bundle_id, folder, bundle, datetime.now(UTC), bundle_id)


class Watched:
    """An agent on a Triton."""

    def __init__(self, running: RunningTriton, server: TritonServer, agent: Agent) -> None:
        self.running = running
        self.server = server
        self.agent = agent

    async def double(self, bundle_id: str, value: float) -> float:
        answer = await self.server.infer(bundle_id, {"x": np.array([[value]], np.float32)}, 5)
        return float(answer["y"][0, 0])

    def pids(self, bundle_id: str) -> list[int]:
        return [stub.pid for stub in stubs_of(self.running.repository / bundle_id)]

    async def unload_all(self) -> None:
        for status in self.agent.statuses():
            await self.agent.unload(status.bundle_id)

    async def recovered(self, bundle_id: str, times: int = 1) -> None:
        def is_back() -> bool:
            status = self.agent.status(bundle_id)
            return status.recoveries >= times and status.state is State.READY

        await until(is_back)


@asynccontextmanager
async def watched_by_agent(running: RunningTriton, load_seconds: float = 10) -> AsyncIterator[Watched]:
    async with connect(running.address) as channel:
        limits_of_triton = TritonLimits(load_seconds=load_seconds)
        server = TritonServer(channel, running.address, Repository(running.repository), limits_of_triton)
        limits = AgentLimits(watch_seconds=0.2, probe_seconds=2, server_seconds=20)
        make = partial(plan, native=(), gpus=0)
        async with Agent(server, make, limits, lambda: datetime.now(UTC)) as agent:
            yield Watched(running, server, agent)


@pytest.fixture
async def watched(triton: RunningTriton) -> AsyncIterator[Watched]:
    async with watched_by_agent(triton) as made:
        yield made
        await made.unload_all()


@pytest.fixture
def own_triton() -> Iterator[RunningTriton]:
    with triton_of_its_own() as running:
        yield running


async def test_a_killed_stub_is_replaced(watched: Watched, tmp_path: Path) -> None:
    hurt, whole = stored(tmp_path / "a", "hurt"), stored(tmp_path / "b", "whole")
    await watched.agent.load(hurt)
    await watched.agent.load(whole)
    os.kill(watched.pids(hurt.bundle_id)[0], signal.SIGKILL)
    await watched.recovered(hurt.bundle_id)
    assert await watched.double(hurt.bundle_id, 21) == 42
    assert watched.agent.status(whole.bundle_id).recoveries == 0


async def test_a_stub_that_hangs_is_replaced(watched: Watched, tmp_path: Path) -> None:
    bundle = stored(tmp_path / "a", "hanging")
    await watched.agent.load(bundle)
    os.kill(watched.pids(bundle.bundle_id)[0], signal.SIGSTOP)
    await watched.recovered(bundle.bundle_id)
    assert await watched.double(bundle.bundle_id, 21) == 42


async def test_one_dead_instance_of_two_is_noticed(watched: Watched, tmp_path: Path) -> None:
    bundle = stored(tmp_path / "a", "twins", instances=2)
    await watched.agent.load(bundle)
    before = watched.pids(bundle.bundle_id)
    os.kill(before[0], signal.SIGKILL)
    await watched.recovered(bundle.bundle_id)
    assert len(watched.pids(bundle.bundle_id)) == 2
    assert not set(before) & set(watched.pids(bundle.bundle_id))


async def test_a_load_during_which_the_stub_stalls_is_ended(triton: RunningTriton, tmp_path: Path) -> None:
    bundle, other = stored(tmp_path / "a", "stalling"), stored(tmp_path / "b", "other")
    async with watched_by_agent(triton, load_seconds=3) as watched:
        await watched.agent.load(other)
        (bundle.folder / "stall").touch()
        with pytest.raises(FailedPrecondition, match="did not end within 3 s"):
            await watched.agent.load(bundle)
        assert watched.agent.status(bundle.bundle_id).state is State.FAILED
        assert watched.agent.status(other.bundle_id).recoveries == 0
        assert not watched.pids(bundle.bundle_id)
        (bundle.folder / "stall").unlink()
        await watched.agent.load(bundle)
        assert await watched.double(bundle.bundle_id, 21) == 42
        await watched.unload_all()


async def test_a_model_that_cannot_load_says_why(watched: Watched, tmp_path: Path) -> None:
    bundle = stored(tmp_path / "a", "broken")
    (bundle.folder / "double.py").write_text("raise RuntimeError('no such wheel')")
    with pytest.raises(FailedPrecondition, match=r"double\.py cannot be opened: RuntimeError: no such wheel"):
        await watched.agent.load(bundle)
    assert bundle.bundle_id not in Repository(watched.running.repository).names()


async def test_a_load_goes_on_when_its_caller_leaves(watched: Watched, tmp_path: Path) -> None:
    bundle = stored(tmp_path / "a", "patient")
    caller = asyncio.create_task(watched.agent.load(bundle))
    await until(lambda: bool(watched.pids(bundle.bundle_id)))
    caller.cancel()
    await watched.agent.load(bundle)
    assert await watched.double(bundle.bundle_id, 1) == 2


async def test_a_fresh_agent_keeps_what_is_live_and_removes_what_is_not(
    own_triton: RunningTriton, tmp_path: Path
) -> None:
    live, left = stored(tmp_path / "a", "live"), stored(tmp_path / "b", "left")
    async with watched_by_agent(own_triton) as first:
        await first.agent.load(live)
        await first.agent.load(left)
        pids = first.pids(live.bundle_id)
    async with watched_by_agent(own_triton) as second:
        await second.agent.load(live)
        await second.agent.flip(EMPTY)
        assert second.pids(live.bundle_id) == pids
        assert not second.pids(left.bundle_id)


async def test_a_fresh_triton_is_given_everything_again(own_triton: RunningTriton, tmp_path: Path) -> None:
    async with watched_by_agent(own_triton) as watched:
        bundles = [stored(tmp_path / name, name) for name in ("first", "second")]
        for bundle in bundles:
            await watched.agent.load(bundle)
        own_triton.kill()
        await until(lambda: watched.agent.status(bundles[0].bundle_id).state is State.RECOVERING)
        with pytest.raises(DependencyDown):
            await watched.agent.check_server()
        with restarted(own_triton):
            for bundle in bundles:
                await watched.recovered(bundle.bundle_id)
                assert await watched.double(bundle.bundle_id, 4) == 8


async def test_a_triton_that_waits_for_a_dead_stub_is_ended(own_triton: RunningTriton, tmp_path: Path) -> None:
    async with watched_by_agent(own_triton, load_seconds=4) as watched:
        bundle = stored(tmp_path / "a", "wedged")
        first = listener_pid(own_triton.address)
        with stopped_at_birth(own_triton.repository / bundle.bundle_id), pytest.raises(FailedPrecondition):
            await watched.agent.load(bundle)
        again = asyncio.create_task(watched.agent.load(bundle))
        await asyncio.to_thread(own_triton.process.wait, 20)
        with restarted(own_triton):
            await again
            assert listener_pid(own_triton.address) != first
            assert await watched.double(bundle.bundle_id, 4) == 8


async def test_numpy_2_in_the_models_python_is_found_out(tmp_path: Path) -> None:
    with triton_of_its_own(overrides={"PREDMESH_TOOLS": str(with_numpy_2(tmp_path / "tools"))}) as running:
        async with watched_by_agent(running) as watched:
            with pytest.raises(DependencyDown, match=r"unchanged: .* holds 0 bytes .*install"):
                await watched.agent.load(stored(tmp_path / "a", "corrupted"))
            # The model's own stub refuses as well, where the canary was not asked.
            with pytest.raises(LoadFailed, match=r"numpy 2\.\S+ corrupts data"):
                await load_without_canary(watched, stored(tmp_path / "a", "corrupted"))
            with pytest.raises(ServerUnsound):
                await watched.server.start()


async def test_a_triton_deaf_to_sigterm_leaves_nothing_behind(own_triton: RunningTriton, tmp_path: Path) -> None:
    bundle = stored(tmp_path / "a", "deaf")
    (bundle.folder / "stall").touch()
    async with watched_by_agent(own_triton) as watched:
        loading = asyncio.create_task(watched.server.load(plan(bundle, native=(), gpus=0)))
        await until(lambda: bool(watched.pids(bundle.bundle_id)))
        own_triton.process.terminate()
        await asyncio.to_thread(own_triton.process.wait, 20)
        loading.cancel()
        with contextlib.suppress(Exception, asyncio.CancelledError):
            await loading
    assert not list(SHARED_MEMORY.glob(f"{own_triton.settings.shm_prefix}*"))
    assert not [stub for stub in find_stubs() if stub.region.startswith(own_triton.settings.shm_prefix)]
    assert not os.path.exists(own_triton.address.removeprefix("unix:"))  # noqa: ASYNC240, PTH110


async def test_a_killed_parent_takes_triton_along_and_the_next_one_cleans_up(own_triton: RunningTriton) -> None:
    async with watched_by_agent(own_triton) as watched:
        await watched.server.start()
    (SHARED_MEMORY / f"{own_triton.settings.shm_prefix}leaked").touch()
    own_triton.kill()
    with restarted(own_triton):
        assert not list(SHARED_MEMORY.glob(f"{own_triton.settings.shm_prefix}leaked"))


@contextlib.contextmanager
def restarted(dead: RunningTriton) -> Iterator[RunningTriton]:
    """What a supervisor does."""
    running = start_triton(dead.settings, dead.log)
    try:
        yield running
    finally:
        running.stop()


@contextlib.contextmanager
def stopped_at_birth(model: Path) -> Iterator[None]:
    """Stops the first stub of *model* before it has spoken to Triton."""
    found = threading.Event()

    def stop() -> None:
        while not found.is_set():
            for stub in stubs_of(model):
                os.kill(stub.pid, signal.SIGSTOP)
                found.set()

    thread = threading.Thread(target=stop)
    thread.start()
    try:
        yield
    finally:
        found.set()
        thread.join()


def with_numpy_2(tools: Path) -> Path:
    """Tools whose Triton runs its models with this test's own numpy."""
    ours, theirs = Path(sys.prefix), environment_folder()
    made = tools / "triton"
    packages = made / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    (made / "bin").mkdir()
    (made / "bin" / "python3").symlink_to(Path(sys.executable).resolve())
    shutil.copy(ours / "pyvenv.cfg", made)
    (packages / "pytriton").symlink_to(theirs / "lib" / "python3.11" / "site-packages" / "pytriton")
    numpy = Path(np.__file__).parent
    for package in (numpy, numpy.with_name("numpy.libs"), Path(predmesh_runtime.__file__).parent):
        (packages / package.name).symlink_to(package)
    return tools


async def load_without_canary(watched: Watched, bundle: StoredBundle) -> None:
    """Has Triton load the bundle as if the server had passed its check."""
    model = plan(bundle, native=(), gpus=0)
    Repository(watched.running.repository).write(model, "predmesh")
    await watched.server._load(model.bundle_id, 10)
