"""Trouble: what callers see while an engine or a service is down, and that the mesh mends itself."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from predmesh_bundle.store import Store
from predmesh_testing.running import FLIGHT, RunningMesh
from predmesh_testing.traffic import Traffic

PREDICT = "/v1/models/flight-delay:predict"
ALONE = ("redis", "triton", "preprocessing", "inference", "explanation", "envoy")
WORKERS = ("prediction.0", "features.1")


def eventually(true: Callable[[], bool], what: str, seconds: float = 45.0) -> None:
    """Waits until a condition holds."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"never came true within {seconds} s: {what}"
        time.sleep(0.05)


def row_of(mesh: RunningMesh, name: str) -> dict[str, Any]:
    return dict(next(item for item in mesh.status()["programs"] if item["name"] == name))


def pid_of(mesh: RunningMesh, name: str) -> int:
    return int(row_of(mesh, name)["pid"] or 0)


def answers(mesh: RunningMesh) -> bool:
    """Whether a prediction succeeds with nothing degraded."""
    try:
        answer = mesh.post(PREDICT, {"instances": [FLIGHT]})
    except OSError:
        return False
    return answer.status_code == 200 and not answer.json().get("degraded")


@pytest.mark.parametrize("name", ALONE)
def test_a_killed_program_comes_back_without_hands(flights_mesh: RunningMesh, name: str) -> None:
    killed = pid_of(flights_mesh, name)
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: pid_of(flights_mesh, name) != killed, f"{name} starts again")
    eventually(lambda: answers(flights_mesh), f"predictions after {name} was killed")
    eventually(lambda: bool(flights_mesh.status()["healthy"]), f"health after {name} was killed")


@pytest.mark.parametrize("name", WORKERS)
def test_a_killed_worker_costs_no_request_and_takes_its_share_again(flights_mesh: RunningMesh, name: str) -> None:
    killed = pid_of(flights_mesh, name)
    with Traffic(flights_mesh) as traffic:
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: pid_of(flights_mesh, name) not in (0, killed), f"{name} starts again")
        eventually(lambda: bool(flights_mesh.status()["healthy"]), f"health after {name} was killed")
        eventually(lambda: bool(row_of(flights_mesh, name)["requests_per_second"]), f"calls of {name}")
    assert traffic.answers > 20
    assert traffic.failures == []


def test_every_worker_follows_the_live_generation_by_itself(flights_mesh: RunningMesh) -> None:
    store = Store(flights_mesh.home / "store")
    live = {f"{service}.{number}" for service in ("prediction", "features") for number in range(2)}
    live |= {"preprocessing", "inference", "explanation"}
    routed = {member.instance: member.generation for member in store.members()}
    assert routed == dict.fromkeys(live, store.current().number)


def test_without_redis_the_declared_defaults_stand_in_and_the_answer_says_so(flights_mesh: RunningMesh) -> None:
    def stood_in() -> bool:
        answer = flights_mesh.post(PREDICT, {"instances": [FLIGHT]})
        degraded = [(item["stage"], item["policy"]) for item in answer.json().get("degraded", ())]
        # The other stages have half of the budget left, which is little where the machine is busy.
        assert answer.status_code in (200, 504), answer.text
        return degraded == [("features", "defaults")]

    stopped = pid_of(flights_mesh, "redis")
    os.kill(stopped, signal.SIGSTOP)
    try:
        eventually(stood_in, "answers on declared defaults")
    finally:
        os.kill(stopped, signal.SIGCONT)
    eventually(lambda: answers(flights_mesh), "predictions with features again")


def test_without_triton_callers_get_unavailable_in_time(flights_mesh: RunningMesh) -> None:
    stopped = pid_of(flights_mesh, "triton")
    os.kill(stopped, signal.SIGKILL)
    answer = flights_mesh.post(PREDICT, {"instances": [FLIGHT]})
    assert answer.status_code in (200, 503, 504), answer.text
    assert answer.headers["content-type"] == "application/json"
    eventually(lambda: answers(flights_mesh), "predictions with Triton again")


@pytest.mark.parametrize("name", ["preprocessing", "features.0"])
def test_a_program_that_hangs_shows_in_status(flights_mesh: RunningMesh, name: str) -> None:
    stopped = pid_of(flights_mesh, name)
    os.kill(stopped, signal.SIGSTOP)
    try:
        eventually(lambda: not row_of(flights_mesh, name)["healthy"], f"{name} that is not healthy")
        assert not flights_mesh.status()["healthy"]
    finally:
        os.kill(stopped, signal.SIGCONT)
    eventually(lambda: bool(flights_mesh.status()["healthy"]), "health again")
