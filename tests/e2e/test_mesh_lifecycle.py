"""A mesh of real programs through its life: up, killed piece by piece, half dead, down, up again; no model deployed."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from predmesh_cli import processes
from predmesh_cli.ending import traces
from predmesh_cli.home import Home
from predmesh_cli.mesh_settings import read_settings
from predmesh_cli.topology import program_names
from predmesh_cli.workers import shown
from predmesh_testing.running import ROOT, RunningMesh, free_port

WORKERS = {"prediction": 2, "features": 2, "preprocessing": 1}
PROGRAMS = program_names(WORKERS)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    made = RunningMesh(tmp_path_factory.mktemp("life"), free_port())
    made.predmesh("up", "--port", str(made.port), "--workers", shown(WORKERS))
    yield made
    made.predmesh("down")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RunningMesh]:
    """A home of its own, ended after the test; nothing runs in it yet."""
    made = RunningMesh(tmp_path, free_port())
    yield made
    made.predmesh("down")


def status(mesh: RunningMesh) -> dict[str, Any]:
    return dict(json.loads(mesh.predmesh("status", "--json", "--seconds", "0.1", check=False).stdout))


def program(mesh: RunningMesh, name: str) -> dict[str, Any]:
    return next(row for row in status(mesh)["programs"] if row["name"] == name)


def healthy(mesh: RunningMesh) -> bool:
    return bool(status(mesh)["healthy"])


def wait_until(condition: Callable[[], bool], *, seconds: float = 45.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"it did not come to pass within {seconds:g} s"
        time.sleep(0.1)


def assert_nothing_left(mesh: RunningMesh) -> None:
    home = Home.at(mesh.home)
    settings = read_settings(home.settings_file)
    assert settings is not None and settings.sockets is not None
    assert processes.of_mesh(home) == {}
    assert traces(home, settings.sockets) == []
    assert not any(path.is_socket() for path in mesh.home.rglob("*"))


def test_after_up_every_program_is_healthy(mesh: RunningMesh) -> None:
    seen = status(mesh)
    assert seen["healthy"], seen
    assert [row["name"] for row in seen["programs"]] == [*PROGRAMS, "supervisor"]
    assert all(row["healthy"] and row["memory_bytes"] > 0 for row in seen["programs"])
    assert seen["memory_bytes"] < 1.5e9
    assert mesh.predmesh("status").returncode == 0


def test_a_second_up_finds_it_running(mesh: RunningMesh) -> None:
    before = {row["name"]: row["pid"] for row in status(mesh)["programs"]}
    assert "running already" in mesh.predmesh("up").stdout
    assert {row["name"]: row["pid"] for row in status(mesh)["programs"]} == before


def test_whatever_is_killed_comes_back_by_itself(mesh: RunningMesh) -> None:
    before = {row["name"]: row for row in status(mesh)["programs"]}
    for name in PROGRAMS:
        os.kill(before[name]["pid"], signal.SIGKILL)
    assert mesh.predmesh("status", "--seconds", "0.1", check=False).returncode == 3
    wait_until(lambda: healthy(mesh))
    after = {row["name"]: row for row in status(mesh)["programs"]}
    for name in PROGRAMS:
        assert after[name]["pid"] != before[name]["pid"]
        assert after[name]["restarts"] == before[name]["restarts"] + 1


def test_a_program_that_hangs_is_not_healthy(mesh: RunningMesh) -> None:
    pid = program(mesh, "preprocessing")["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        row = program(mesh, "preprocessing")
        assert not row["healthy"]
        assert row["state"] == "RUNNING"
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: healthy(mesh))


def test_no_password_reaches_a_command_line_or_a_log(mesh: RunningMesh) -> None:
    secrets = [path.read_text().strip() for path in (mesh.home / "secrets").iterdir()]
    assert len(secrets) == 3
    shown = [Path(f"/proc/{pid}/cmdline").read_text() for pid in processes.of_mesh(Home.at(mesh.home))]
    shown += [path.read_text(errors="replace") for path in (mesh.home / "logs").iterdir()]
    assert not any(secret in text for secret in secrets for text in shown)


def test_another_mesh_runs_beside_it_and_ends_alone(mesh: RunningMesh, own: RunningMesh) -> None:
    own.predmesh("up", "--port", "0")
    assert healthy(own)
    assert status(own)["url"] != status(mesh)["url"]
    own.predmesh("down")
    assert_nothing_left(own)
    assert healthy(mesh)


def test_the_port_of_a_running_mesh_is_not_changed_under_it(mesh: RunningMesh) -> None:
    done = mesh.predmesh("up", "--port", str(free_port()), check=False)
    assert done.returncode == 1
    assert f"already runs on port {mesh.port}" in done.stderr
    assert "predmesh down" in done.stderr


def test_the_workers_of_a_running_mesh_are_not_changed_under_it(mesh: RunningMesh) -> None:
    done = mesh.predmesh("up", "--workers", "1", check=False)
    assert done.returncode == 1
    assert f"already runs with workers {shown(WORKERS)}" in done.stderr


def test_a_killed_supervisor_is_seen_and_mended(mesh: RunningMesh) -> None:
    os.kill(program(mesh, "supervisor")["pid"], signal.SIGKILL)
    assert mesh.predmesh("status", "--seconds", "0.1", check=False).returncode in (3, 4)
    assert "ready in" in mesh.predmesh("up").stdout
    assert healthy(mesh)


def test_down_works_half_dead_and_up_is_fast_again(mesh: RunningMesh) -> None:
    os.kill(program(mesh, "supervisor")["pid"], signal.SIGKILL)
    mesh.predmesh("down")
    assert_nothing_left(mesh)
    assert mesh.predmesh("status", check=False).returncode == 4
    assert "No mesh was running" in mesh.predmesh("down").stdout
    begin = time.monotonic()
    mesh.predmesh("up")
    assert time.monotonic() - begin < 30
    assert status(mesh)["url"].endswith(f":{mesh.port}")


def test_a_port_in_use_is_named_with_its_holder(own: RunningMesh) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", own.port))):
        done = own.predmesh("up", "--port", str(own.port), check=False)
    assert done.returncode == 1
    assert f"port {own.port}" in done.stderr
    assert f"pid {os.getpid()}" in done.stderr
    assert "--port" in done.stderr
    assert processes.of_mesh(Home.at(own.home)) == {}


@pytest.fixture
def starting(own: RunningMesh) -> Iterator[subprocess.Popen[str]]:
    """An `up` whose supervisor has just come to life."""
    command = [str(Path(sys.executable).parent / "predmesh"), "up", "--port", str(own.port)]
    with subprocess.Popen(
        command, env=own.environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as up:
        wait_until(lambda: "redis" in processes.of_mesh(Home.at(own.home)).values())
        yield up
        up.kill()


def test_an_interrupted_up_leaves_nothing(own: RunningMesh, starting: subprocess.Popen[str]) -> None:
    starting.send_signal(signal.SIGINT)
    starting.communicate(timeout=60)
    assert starting.returncode == 130
    assert_nothing_left(own)


def test_a_killed_up_leaves_a_mesh_that_the_next_up_finds(own: RunningMesh, starting: subprocess.Popen[str]) -> None:
    starting.kill()
    own.predmesh("up")
    assert healthy(own)


def test_what_cannot_start_is_shown_with_its_log_and_mended_by_the_next_up(own: RunningMesh) -> None:
    settings = own.home / "mesh.toml"
    settings.write_text(f'port = {own.port}\n[environment]\nFEATURES_GRACE_SECONDS = "soon"\n')
    done = own.predmesh("up", check=False)
    assert done.returncode == 3
    assert "FEATURES_GRACE_SECONDS" in done.stderr
    assert "predmesh logs" in done.stderr
    settings.write_text(settings.read_text().replace('"soon"', '"2"'))
    own.predmesh("up")
    assert healthy(own)
