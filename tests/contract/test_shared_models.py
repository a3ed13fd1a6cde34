"""Bundles that differ in nothing that their model is made of have one model on a real Triton."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from predmesh_bundle.generation import EMPTY
from predmesh_bundle.schema import Bundle, Input, Output
from predmesh_bundle.store import Store, StoredBundle
from predmesh_frame import DataType
from predmesh_inference.agent import Agent, AgentLimits
from predmesh_inference.domain import State
from predmesh_inference.planning import plan
from predmesh_inference.repository import Repository
from predmesh_inference.stubs import stubs_of
from predmesh_inference.triton_server import TritonLimits, TritonServer
from predmesh_rpc.channels import connect
from predmesh_testing.models import MAKERS
from predmesh_testing.triton import RunningTriton, needs_triton
from predmesh_testing.triton import triton as triton  # a fixture
from predmesh_testing.waiting import until

pytestmark = needs_triton


@pytest.fixture
def twins(tmp_path: Path) -> tuple[StoredBundle, StoredBundle]:
    """Two versions of a bundle, whose descriptions differ."""
    store = Store(tmp_path / "store")
    first, second = (_put(store, tmp_path / version, version) for version in ("1", "2"))
    return first, second


def _put(store: Store, folder: Path, version: str) -> StoredBundle:
    (folder / "compiled").mkdir(parents=True)
    example = MAKERS["xgboost-json"](folder)
    (tensor,) = example.inference.inputs
    bundle = Bundle(
        name="twins",
        version=version,
        owner="tests",
        description=f"Version {version}",
        inputs=(Input(name=tensor.name, type=DataType.FLOAT, shape=tensor.shape, example=[1.0] * tensor.shape[0]),),
        inference=example.inference,
        outputs=(Output(name="y", type=DataType.FLOAT, tensor=example.inference.outputs[0].name, index=0),),
    )
    (folder / "compiled" / "bundle.json").write_text(bundle.model_dump_json())
    return store.put(folder)


class Served:
    """An agent on a Triton, and what it makes of the model."""

    def __init__(self, running: RunningTriton, server: TritonServer, agent: Agent) -> None:
        self._running = running
        self._server = server
        self.agent = agent

    async def answers(self, bundle: StoredBundle) -> bool:
        (tensor,) = bundle.bundle.inference.inputs
        row = {tensor.name: np.ones((1, *tensor.shape), np.float32)}
        return bool(await self._server.infer(bundle.model_id, row, 5))

    def pids(self, bundle: StoredBundle) -> list[int]:
        return [stub.pid for stub in stubs_of(self._running.repository / bundle.model_id)]

    def models(self) -> list[str]:
        return Repository(self._running.repository).names()


@asynccontextmanager
async def served(running: RunningTriton) -> AsyncIterator[Served]:
    async with connect(running.address) as channel:
        server = TritonServer(channel, running.address, Repository(running.repository), TritonLimits(load_seconds=20))
        limits = AgentLimits(watch_seconds=0.2, probe_seconds=2, server_seconds=20)
        async with Agent(server, partial(plan, native=(), gpus=0), limits, lambda: datetime.now(UTC)) as agent:
            yield Served(running, server, agent)


async def test_the_second_bundle_starts_no_process_and_the_last_one_ends_it(
    triton: RunningTriton, twins: tuple[StoredBundle, StoredBundle]
) -> None:
    first, second = twins
    async with served(triton) as here:
        await here.agent.load(first)
        pids = here.pids(first)
        await here.agent.load(second)
        await here.agent.unload(first.bundle_id)
        assert here.pids(second) == pids
        assert await here.answers(second)
        await here.agent.unload(second.bundle_id)
        assert not here.pids(second)
        assert second.model_id not in here.models()


async def test_a_model_comes_back_though_the_bundle_that_brought_it_is_gone(
    triton: RunningTriton, twins: tuple[StoredBundle, StoredBundle]
) -> None:
    first, second = twins
    async with served(triton) as here:
        await here.agent.load(first)
        await here.agent.load(second)
        await here.agent.unload(first.bundle_id)
        first.folder.rename(first.folder.with_name("pruned"))
        os.kill(here.pids(second)[0], signal.SIGKILL)
        await until(lambda: here.agent.status(second.bundle_id).recoveries > 0)
        await until(lambda: here.agent.status(second.bundle_id).state is State.READY)
        assert await here.answers(second)
        await here.agent.unload(second.bundle_id)


async def test_a_fresh_agent_takes_the_model_over_for_another_bundle(
    triton: RunningTriton, twins: tuple[StoredBundle, StoredBundle]
) -> None:
    first, second = twins
    async with served(triton) as before:
        await before.agent.load(first)
        pids = before.pids(first)
    async with served(triton) as after:
        await after.agent.load(second)
        await after.agent.flip(EMPTY)
        assert after.pids(second) == pids
        assert await after.answers(second)
        await after.agent.unload(second.bundle_id)
