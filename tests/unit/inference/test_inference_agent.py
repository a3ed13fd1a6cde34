"""The agent over a fake server: what it does when inferences fail, are late, or the server comes and goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from predmesh_bundle.generation import EMPTY
from predmesh_inference.agent import Agent, AgentLimits
from predmesh_inference.domain import Fault, InferenceFailed, LoadFailed, ServerUnsound, State
from predmesh_inference.planning import plan
from predmesh_rpc import deadline
from predmesh_rpc.errors import DependencyDown, FailedPrecondition, NotFound
from predmesh_testing.waiting import until

from tests.unit.inference.inference_fakes import NOW, FakeServer, stored

BUNDLE = stored()
ID, NAME = BUNDLE.bundle_id, BUNDLE.model_id
TWIN = stored(version="2")
"""Another version with the same model."""


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
async def agent(server: FakeServer) -> AsyncIterator[Agent]:
    limits = AgentLimits(watch_seconds=0.002, probe_seconds=1, server_seconds=0.1)
    async with Agent(server, lambda bundle: plan(bundle, native=(), gpus=0), limits, lambda: NOW) as made:
        yield made


async def test_a_loaded_model_is_ready_and_says_when_it_last_answered(agent: Agent, server: FakeServer) -> None:
    await agent.load(BUNDLE)
    status = agent.status(ID)
    assert (status.state, status.last_success_time, status.device) == (State.READY, NOW, "cpu")
    assert server.loaded == {NAME}


async def test_loading_again_changes_nothing(agent: Agent, server: FakeServer) -> None:
    await agent.load(BUNDLE)
    await agent.load(BUNDLE)
    assert server.calls == [f"load {NAME}"]


async def test_callers_share_one_load(agent: Agent, server: FakeServer) -> None:
    server.may_load.clear()
    callers = [asyncio.create_task(agent.load(BUNDLE)) for _ in range(3)]
    await until(lambda: bool(server.calls))
    server.may_load.set()
    await asyncio.gather(*callers)
    assert server.calls == [f"load {NAME}"]


async def test_the_watch_outlives_the_deadline_of_the_call_that_loaded(agent: Agent, server: FakeServer) -> None:
    with deadline.within(0.5):
        await agent.load(BUNDLE)
    server.time_left.clear()
    await until(lambda: bool(server.time_left))
    assert server.time_left[0] == float("inf")


async def test_a_model_that_breaks_is_reloaded(agent: Agent, server: FakeServer) -> None:
    await agent.load(BUNDLE)
    server.faults = [Fault.BROKEN]
    await until(lambda: agent.status(ID).recoveries == 1 and agent.status(ID).state is State.READY)
    assert server.calls == [f"load {NAME}", f"reload {NAME}"]


async def test_a_lost_instance_is_noticed_though_inferences_succeed(agent: Agent, server: FakeServer) -> None:
    await agent.load(BUNDLE)
    server.is_whole = False
    await until(lambda: f"reload {NAME}" in server.calls)


async def test_a_slow_model_is_left_alone_until_it_was_silent_three_times(agent: Agent, server: FakeServer) -> None:
    await agent.load(BUNDLE)
    server.faults = [Fault.LATE, Fault.LATE, None, Fault.LATE, Fault.LATE, None]
    await until(lambda: not server.faults)
    assert agent.status(ID).recoveries == 0
    server.faults = [Fault.LATE] * 3
    await until(lambda: agent.status(ID).recoveries == 1)


async def test_a_server_that_is_down_is_waited_for_and_nothing_is_torn_down(agent: Agent, server: FakeServer) -> None:
    await agent.load(BUNDLE)
    server.faults = [Fault.SERVER_DOWN] * 10
    await until(lambda: agent.status(ID).state is State.RECOVERING)
    with pytest.raises(DependencyDown, match="is recovering: server_down"):
        await agent.check_models()
    await until(lambda: agent.status(ID).state is State.READY)
    assert server.calls == [f"load {NAME}"]


async def test_a_reload_that_fails_is_tried_again(agent: Agent, server: FakeServer) -> None:
    await agent.load(BUNDLE)
    server.load_error = LoadFailed("no memory")
    server.faults = [Fault.BROKEN, Fault.ABSENT]
    await until(lambda: agent.status(ID).recoveries == 2)
    assert agent.status(ID).detail == "no memory"
    server.load_error, server.faults = None, [Fault.ABSENT]
    await until(lambda: agent.status(ID).state is State.READY)


async def test_a_model_that_cannot_load_is_failed_and_may_be_tried_again(agent: Agent, server: FakeServer) -> None:
    server.load_error = LoadFailed("the graph gives no y")
    with pytest.raises(FailedPrecondition, match="the graph gives no y"):
        await agent.load(BUNDLE)
    assert agent.status(ID).state is State.FAILED
    server.load_error = None
    await agent.load(BUNDLE)
    assert agent.status(ID).state is State.READY


async def test_a_warm_up_that_gets_no_answer_fails_the_load(agent: Agent, server: FakeServer) -> None:
    server.faults = [Fault.REFUSED]
    with pytest.raises(FailedPrecondition, match="refused"):
        await agent.load(BUNDLE)


@pytest.mark.parametrize(
    "error", [InferenceFailed(Fault.SERVER_DOWN, "gone"), ServerUnsound("run install")], ids=["down", "unsound"]
)
async def test_a_server_that_is_down_or_unsound_is_told_as_unavailable(
    agent: Agent, server: FakeServer, error: Exception
) -> None:
    server.load_error = error
    with pytest.raises(DependencyDown, match=str(error)):
        await agent.load(BUNDLE)


async def test_an_unloaded_model_is_forgotten_and_no_longer_watched(agent: Agent, server: FakeServer) -> None:
    await agent.load(BUNDLE)
    await agent.unload(ID)
    await agent.unload(ID)
    await until(lambda: f"watch-{ID}" not in {task.get_name() for task in asyncio.all_tasks()})
    with pytest.raises(NotFound):
        agent.status(ID)


async def test_an_unload_waits_for_the_load_and_leaves_no_watch(agent: Agent, server: FakeServer) -> None:
    server.may_load.clear()
    loading = asyncio.create_task(agent.load(BUNDLE))
    await until(lambda: bool(server.calls))
    unloading = asyncio.create_task(agent.unload(ID))
    await asyncio.sleep(0)
    server.may_load.set()
    await asyncio.gather(loading, unloading)
    assert server.calls == [f"load {NAME}", f"unload {NAME}"]
    assert agent.statuses() == []


async def test_what_an_earlier_agent_left_goes_at_the_first_flip_alone(agent: Agent, server: FakeServer) -> None:
    await agent.load(BUNDLE)
    await agent.flip(EMPTY)
    await agent.flip(EMPTY)
    assert [call for call in server.calls if call.startswith("retain")] == [f"retain {NAME}"]


async def test_a_bundle_that_insists_on_a_gpu_is_refused_where_there_is_none(agent: Agent) -> None:
    with pytest.raises(FailedPrecondition, match="asks for a GPU and this machine shows none"):
        await agent.load(stored(framework="pytorch", file="model.pt2", device="gpu"))


async def test_bundles_share_a_model_until_the_last_one_goes(agent: Agent, server: FakeServer) -> None:
    await agent.load(BUNDLE)
    await agent.load(TWIN)
    await agent.unload(ID)
    assert server.loaded == {NAME}
    assert [status.bundle_id for status in agent.statuses()] == [TWIN.bundle_id]
    await agent.unload(TWIN.bundle_id)
    assert server.calls[-1] == f"unload {NAME}"
    assert not server.loaded


async def test_a_shared_model_that_breaks_is_reloaded_once(agent: Agent, server: FakeServer) -> None:
    await agent.load(BUNDLE)
    await agent.load(TWIN)
    server.may_load.clear()
    server.faults = [Fault.BROKEN] * 2
    await until(lambda: all(status.state is State.RECOVERING for status in agent.statuses()))
    server.may_load.set()
    await until(lambda: all(status.state is State.READY for status in agent.statuses()))
    assert server.calls.count(f"reload {NAME}") == 1


async def test_a_bundle_whose_own_example_is_refused_leaves_the_model_to_the_others(
    agent: Agent, server: FakeServer
) -> None:
    await agent.load(BUNDLE)
    server.faults = [Fault.REFUSED] * 20
    with pytest.raises(FailedPrecondition, match="refused"):
        await agent.load(TWIN)
    server.faults = []
    await agent.unload(TWIN.bundle_id)
    assert server.loaded == {NAME}


async def test_a_model_that_is_wanted_again_while_it_goes_is_loaded_again(agent: Agent, server: FakeServer) -> None:
    await agent.load(BUNDLE)
    server.may_unload.clear()
    unloading = asyncio.create_task(agent.unload(ID))
    await until(lambda: f"unload {NAME}" in server.calls)
    loading = asyncio.create_task(agent.load(TWIN))
    await asyncio.sleep(0)
    server.may_unload.set()
    await asyncio.gather(unloading, loading)
    assert server.calls == [f"load {NAME}", f"unload {NAME}", f"load {NAME}"]


async def test_what_is_shared_is_kept_once(agent: Agent, server: FakeServer) -> None:
    await agent.load(BUNDLE)
    await agent.load(TWIN)
    await agent.flip(EMPTY)
    assert server.calls[-1] == f"retain {NAME}"


async def test_warming_up_tells_what_the_model_says(agent: Agent, server: FakeServer) -> None:
    await agent.load(BUNDLE)
    assert (await agent.warm_up(ID)).state is State.READY
    with pytest.raises(NotFound):
        await agent.warm_up("unknown-1-000000000000")
