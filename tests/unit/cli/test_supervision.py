"""The real supervisor with small programs: it restarts, counts, ends all, and is ended from outside when it is dead."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from predmesh_cli import ending, processes
from predmesh_cli.errors import CliError
from predmesh_cli.home import Home
from predmesh_cli.launch import MARK
from predmesh_cli.locking import locked
from predmesh_cli.supervisor_client import Supervisor, SupervisorDown
from predmesh_cli.supervisor_ini import supervisor_ini
from predmesh_cli.topology import Kind, Program
from predmesh_cli.written import launcher, spec

Wait = Callable[[Callable[[], bool]], None]
SLEEP = ("/bin/sleep", "600")
DEAF = ("/bin/sh", "-c", "trap '' TERM; sleep 600 & wait; sleep 600")
BROKEN = ("/bin/sh", "-c", "echo no such model; exit 3")


def program(home: Home, name: str, argv: tuple[str, ...]) -> Program:
    return Program(
        name=name,
        kind=Kind.SERVICE,
        argv=argv,
        environment={MARK: f"{home.root}:{name}", "PATH": "/usr/bin:/bin"},
        directory=home.run,
        address="",
        stop_seconds=1,
    )


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home.at(tmp_path / "h")
    made.make()
    yield made
    end(made)


@pytest.fixture
def supervised(home: Home, eventually: Wait) -> Iterator[Callable[..., Supervisor]]:
    with contextlib.ExitStack() as stack:

        def start(programs: Mapping[str, tuple[str, ...]]) -> Supervisor:
            described = [program(home, name, argv) for name, argv in programs.items()]
            for each in described:
                (home.programs / f"{each.name}.json").write_text(spec(each, home.record(each.name)))
            socket = home.run / "supervisor.sock"
            home.supervisor_configuration.write_text(
                supervisor_ini(
                    described,
                    run=home.run,
                    logs=home.logs,
                    socket=socket,
                    launcher=launcher(),
                    specs=home.programs,
                )
            )
            command = [
                sys.executable,
                "-W",
                "ignore",
                "-m",
                "supervisor.supervisord",
                "-c",
                str(home.supervisor_configuration),
            ]
            process = subprocess.Popen(
                command, env={**os.environ, MARK: f"{home.root}:supervisor"}, start_new_session=True
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            supervisor = Supervisor(socket)
            eventually(supervisor.answers)
            return supervisor

        yield start


def started(home: Home, name: str, times: int) -> Callable[[], bool]:
    def is_so() -> bool:
        record = processes.read_record(home.record(name))
        return record is not None and record.starts >= times

    return is_so


def end(home: Home) -> ending.Ended:
    return ending.end(home, home.run, on_progress=lambda _: None, term_seconds=0.5)


def test_what_is_killed_comes_back(home: Home, supervised: Callable[..., Supervisor], eventually: Wait) -> None:
    supervised({"features": SLEEP})
    eventually(started(home, "features", 1))
    first = processes.read_record(home.record("features"))
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)
    eventually(started(home, "features", 2))
    again = processes.read_record(home.record("features"))
    assert again is not None
    assert again.pid != first.pid
    assert not first.alive()


def test_a_crash_loop_is_seen_and_waits_longer_each_time(
    home: Home, supervised: Callable[..., Supervisor], eventually: Wait
) -> None:
    supervisor = supervised({"features": BROKEN, "prediction": SLEEP})
    eventually(started(home, "features", 3))
    eventually(lambda: supervisor.programs()["features"].state == "BACKOFF")
    assert supervisor.programs()["prediction"].state in ("STARTING", "RUNNING")
    assert "no such model" in (home.log("features")).read_text()


def test_start_waiting_does_not_sit_out_the_pause(
    home: Home, supervised: Callable[..., Supervisor], eventually: Wait
) -> None:
    supervisor = supervised({"features": BROKEN})
    eventually(started(home, "features", 2))
    eventually(lambda: supervisor.programs()["features"].state == "BACKOFF")
    supervisor.start_waiting()
    eventually(started(home, "features", 3))


def test_end_leaves_nothing_even_of_a_deaf_program(
    home: Home, supervised: Callable[..., Supervisor], eventually: Wait
) -> None:
    supervised({"features": DEAF, "prediction": SLEEP})
    eventually(started(home, "features", 1))
    region = Path("/dev/shm") / f"{home.shm_prefix}test"
    region.write_bytes(b"x")
    found = end(home)
    assert found.processes >= 3
    assert processes.of_mesh(home) == {}
    assert ending.traces(home, home.run) == []
    assert not region.exists()


def test_end_works_when_the_supervisor_was_killed(
    home: Home, supervised: Callable[..., Supervisor], eventually: Wait
) -> None:
    supervisor = supervised({"features": DEAF, "prediction": SLEEP})
    eventually(started(home, "features", 1))
    eventually(started(home, "prediction", 1))
    os.kill(supervisor.pid(), signal.SIGKILL)
    eventually(lambda: "prediction" not in processes.of_mesh(home).values())
    # The child of the deaf program has another parent than the supervisor, so only the mark finds it.
    assert set(processes.of_mesh(home).values()) <= {"features", "supervisor"}
    end(home)
    assert processes.of_mesh(home) == {}
    assert ending.traces(home, home.run) == []


def test_a_dead_supervisor_says_where_it_should_be(home: Home) -> None:
    supervisor = Supervisor(home.run / "supervisor.sock")
    assert not supervisor.answers()
    with pytest.raises(SupervisorDown, match=r"supervisor\.sock"):
        supervisor.programs()


def test_ending_nothing_is_no_error(home: Home) -> None:
    assert end(home) == ending.Ended(0, ())


def test_a_second_command_waits_for_the_first(home: Home) -> None:
    heard: list[str] = []
    with (
        locked(home.lock_file, on_wait=heard.append),
        pytest.raises(CliError, match=f"pid {os.getpid()}"),
        locked(home.lock_file, on_wait=heard.append, wait_seconds=0.05),
    ):
        raise AssertionError("both hold it")
    assert str(os.getpid()) in heard[0]
    with locked(home.lock_file, on_wait=heard.append):
        assert home.lock_file.read_text().strip() == str(os.getpid())
