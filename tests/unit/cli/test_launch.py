"""The launcher in front of every program, run as the supervisor runs it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from predmesh_cli import launch
from predmesh_cli.processes import read_record, runs

MARK = "/srv/mesh:sleeper"
SLEEP = ("/bin/sh", "-c", "trap 'exit 0' TERM; sleep 60 & echo up; wait")


@pytest.fixture
def spec(tmp_path: Path) -> Callable[..., Path]:
    def write(*argv: str) -> Path:
        document = {
            "argv": argv or SLEEP,
            "environment": {launch.MARK: MARK, "PATH": "/usr/bin:/bin", "SECRET": "s"},
            "directory": str(tmp_path),
            "death_signal": int(signal.SIGKILL),
            "record": str(tmp_path / "record.json"),
        }
        path = tmp_path / "spec.json"
        path.write_text(json.dumps(document))
        return path

    return write


# A parent that calls itself supervisord, starts the launcher as the supervisor does, and then waits.
PARENT = """
import subprocess, sys
command = [sys.executable, "-I", "-S", *sys.argv[2:]]
child = subprocess.Popen(command, process_group=0, stdout=subprocess.PIPE, text=True)
print(child.pid, child.stdout.readline().strip(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def parents() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for parent in started:
        parent.kill()
        parent.communicate()


def begin(parents: list[subprocess.Popen[str]], spec_path: Path, *, name: str = "supervisord") -> tuple[int, str]:
    command = [sys.executable, "-c", PARENT, name, launch.__file__, str(spec_path)]
    parent = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    parents.append(parent)
    assert parent.stdout is not None
    pid, _, said = parent.stdout.readline().partition(" ")
    return int(pid), said.strip()


def ended(pid: int, wait: Callable[[Callable[[], bool]], None]) -> None:
    wait(lambda: not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes())


def test_it_becomes_the_program_and_writes_down_who_it_is(parents: Any, spec: Any, tmp_path: Path) -> None:
    pid, said = begin(parents, spec())
    record = read_record(tmp_path / "record.json")
    assert said == "up"
    assert record is not None
    assert (record.pid, record.starts) == (pid, 1)
    assert record.alive()
    assert os.getpgid(pid) == pid


def test_the_program_gets_its_environment_and_nothing_else(parents: Any, spec: Any) -> None:
    pid, _ = begin(parents, spec())
    names = {entry.partition(b"=")[0] for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if entry}
    assert names == {b"PREDMESH_MARK", b"PATH", b"SECRET"}


def test_it_dies_with_the_supervisor(parents: Any, spec: Any, eventually: Any) -> None:
    pid, _ = begin(parents, spec())
    parents[0].kill()
    ended(pid, eventually)


def test_a_restart_ends_what_the_last_run_left_and_counts(
    parents: Any, spec: Any, tmp_path: Path, eventually: Any
) -> None:
    first, _ = begin(parents, spec())
    orphans = launch.marked_group(first, MARK)
    os.kill(first, signal.SIGKILL)
    assert len(orphans) == 2
    begin(parents, spec())
    for orphan in orphans:
        ended(orphan, eventually)
    record = read_record(tmp_path / "record.json")
    assert record is not None
    assert record.starts == 2


def test_without_a_supervisor_it_does_not_start(parents: Any, spec: Any, tmp_path: Path) -> None:
    assert begin(parents, spec(), name="somebody")[1] == ""
    assert read_record(tmp_path / "record.json") is None


def test_a_group_of_others_is_left_alone() -> None:
    assert launch.marked_group(os.getpgid(0), MARK) == []
    launch.end_leftovers({"pid": os.getpgid(0)}, MARK)
    assert runs(os.getpid(), launch.start_ticks(os.getpid()))
