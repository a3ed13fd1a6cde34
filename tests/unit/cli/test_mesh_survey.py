"""A program is healthy only when it says so itself and its own process is alive."""

import os

import pytest
from predmesh_cli.health import Health
from predmesh_cli.launch import start_ticks
from predmesh_cli.processes import Record, read_record, runs
from predmesh_cli.supervisor_client import Supervised
from predmesh_cli.survey import judged

PID = os.getpid()
ALIVE = Record(PID, start_ticks(PID), 1, 0.0)
RUNNING = Supervised("features", "RUNNING", PID, "", "services")
WELL = Health(True)


def test_all_three_witnesses_make_it_healthy() -> None:
    assert judged(RUNNING, ALIVE, WELL).serving


@pytest.mark.parametrize(
    ("supervised", "record", "said"),
    [
        (None, ALIVE, "supervisor is gone"),
        (Supervised("features", "BACKOFF", 0, "Exited too quickly", "services"), ALIVE, "Exited too quickly"),
        (Supervised("features", "STARTING", 0, "", "services"), ALIVE, "STARTING"),
        (RUNNING, None, "starting"),
        (RUNNING, Record(PID + 1, 1, 2, 0.0), "starting"),
        (RUNNING, Record(PID, start_ticks(PID) + 1, 2, 0.0), "starting"),
    ],
    ids=["no supervisor", "in backoff", "no pid", "never recorded", "another process", "a reused pid"],
)
def test_an_answer_of_a_dead_program_does_not_count(
    supervised: Supervised | None, record: Record | None, said: str
) -> None:
    found = judged(supervised, record, WELL)
    assert not found.serving
    assert said in found.detail


def test_a_live_process_that_does_not_serve_is_not_healthy() -> None:
    assert judged(RUNNING, ALIVE, Health(False, "waits for redis")).detail == "waits for redis"


def test_a_pid_counts_only_with_its_start() -> None:
    assert runs(PID, start_ticks(PID))
    assert not runs(PID, start_ticks(PID) - 1)


def test_a_damaged_record_is_none(tmp_path) -> None:
    path = tmp_path / "features.json"
    path.write_text('{"pid": 1}')
    assert read_record(path) is None
    assert read_record(tmp_path / "nowhere.json") is None
