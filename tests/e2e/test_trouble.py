"""Trouble: what callers see while an engine or a service is down, and that the mesh mends itself."""

import os
import signal
import time
from collections.abc import Callable

import pytest
from predmesh_testing.running import FLIGHT, RunningMesh

PREDICT = "/v1/models/flight-delay:predict"
PROGRAMS = ("redis", "triton", "features", "preprocessing", "inference", "explanation", "prediction", "envoy")


def eventually(true: Callable[[], bool], what: str, seconds: float = 45.0) -> None:
    """Waits until a condition holds."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"never came true within {seconds} s: {what}"
        time.sleep(0.05)


def pid_of(mesh: RunningMesh, name: str) -> int:
    return int(next(item["pid"] for item in mesh.status()["programs"] if item["name"] == name))


def answers(mesh: RunningMesh) -> bool:
    """Whether a prediction succeeds with nothing degraded."""
    try:
        answer = mesh.post(PREDICT, {"instances": [FLIGHT]})
    except OSError:
        return False
    return answer.status_code == 200 and not answer.json().get("degraded")


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_killed_program_comes_back_without_hands(flights_mesh: RunningMesh, name: str) -> None:
    killed = pid_of(flights_mesh, name)
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: pid_of(flights_mesh, name) != killed, f"{name} starts again")
    eventually(lambda: answers(flights_mesh), f"predictions after {name} was killed")
    eventually(lambda: bool(flights_mesh.status()["healthy"]), f"health after {name} was killed")


def test_without_redis_the_declared_defaults_stand_in_and_the_answer_says_so(flights_mesh: RunningMesh) -> None:
    stopped = pid_of(flights_mesh, "redis")
    os.kill(stopped, signal.SIGSTOP)
    try:
        answer = flights_mesh.post(PREDICT, {"instances": [FLIGHT]})
    finally:
        os.kill(stopped, signal.SIGCONT)
    document = answer.json()
    assert answer.status_code == 200, document
    assert [(item["stage"], item["policy"]) for item in document["degraded"]] == [("features", "defaults")]
    eventually(lambda: answers(flights_mesh), "predictions with features again")


def test_without_triton_callers_get_unavailable_in_time(flights_mesh: RunningMesh) -> None:
    stopped = pid_of(flights_mesh, "triton")
    os.kill(stopped, signal.SIGKILL)
    answer = flights_mesh.post(PREDICT, {"instances": [FLIGHT]})
    assert answer.status_code in (200, 503, 504), answer.text
    assert answer.headers["content-type"] == "application/json"
    eventually(lambda: answers(flights_mesh), "predictions with Triton again")


def test_a_stopped_service_shows_in_status(flights_mesh: RunningMesh) -> None:
    stopped = pid_of(flights_mesh, "preprocessing")
    os.kill(stopped, signal.SIGSTOP)
    try:
        eventually(lambda: not flights_mesh.status()["healthy"], "status that is not healthy")
    finally:
        os.kill(stopped, signal.SIGCONT)
    eventually(lambda: bool(flights_mesh.status()["healthy"]), "health again")
