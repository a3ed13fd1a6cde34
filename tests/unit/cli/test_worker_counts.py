"""How many processes there are: as asked for, or as the cores that may really be used suggest."""

import os
from pathlib import Path

import pytest
from predmesh_cli.workers import (
    MOST_WORKERS,
    SCALED,
    SERVICES,
    WorkersError,
    automatic,
    available_cores,
    gateway_threads,
    service_of,
    worker_counts,
    worker_names,
)


@pytest.mark.parametrize(
    ("asked", "prediction", "features", "preprocessing"),
    [
        ("auto", 4, 2, 2),
        ("", 4, 2, 2),
        ("2", 2, 2, 2),
        ("prediction=2,features=3", 2, 3, 2),
        ("1, prediction=2", 2, 1, 1),
        ("3,prediction=auto", 4, 3, 3),
    ],
)
def test_what_is_asked_for(asked: str, prediction: int, features: int, preprocessing: int) -> None:
    counts = worker_counts(asked, cores=12)
    assert counts == {"prediction": prediction, "features": features, "preprocessing": preprocessing}


@pytest.mark.parametrize(
    "asked", ["0", "-1", "65", "two", "prediction=", "=2", "explanation=2", "prediction=2=3", "1.5"]
)
def test_what_cannot_be_is_refused(asked: str) -> None:
    with pytest.raises(WorkersError):
        worker_counts(asked, cores=4)


def test_a_wrong_service_is_answered_with_the_nearest() -> None:
    with pytest.raises(WorkersError, match="did you mean 'features'"):
        worker_counts("feature=2", cores=4)


def test_a_laptop_has_one_of_each() -> None:
    assert all(set(automatic(cores).values()) == {1} for cores in range(1, 6))


def test_more_cores_never_mean_fewer_workers() -> None:
    counts = [automatic(cores) for cores in range(1, 300)]
    for service in SCALED:
        numbers = [each[service] for each in counts]
        assert numbers == sorted(numbers)
        assert numbers[-1] <= MOST_WORKERS
    assert counts[47] == {"prediction": 16, "features": 6, "preprocessing": 6}


def test_the_gateway_keeps_up() -> None:
    assert [gateway_threads(counts) for counts in ({}, {"prediction": 1}, {"prediction": 3})] == [1, 1, 3]


def test_one_worker_has_the_name_of_its_service() -> None:
    assert worker_names("prediction", {}) == ("prediction",)
    assert worker_names("prediction", {"prediction": 2}) == ("prediction.0", "prediction.1")
    assert {service_of(name) for name in worker_names("prediction", {"prediction": 2})} == {"prediction"}
    assert all(service_of(service) == service for service in SERVICES)


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    """Control groups a/b, this process in b."""
    (tmp_path / "groups/a/b").mkdir(parents=True)
    (tmp_path / "own").write_text("2:cpu:/\n0::/a/b\n")
    return tmp_path


@pytest.mark.parametrize(
    ("inner", "outer", "granted"),
    [("max 100000", "max 100000", 10**6), ("250000 100000", "max 100000", 2), ("max 100000", "50000 100000", 1)],
    ids=["no limit", "two and a half cores", "half a core around it"],
)
def test_a_control_group_limits_the_cores(groups: Path, inner: str, outer: str, granted: int) -> None:
    (groups / "groups/a/b/cpu.max").write_text(f"{inner}\n")
    (groups / "groups/a/cpu.max").write_text(f"{outer}\n")
    assert available_cores(groups / "groups", groups / "own") == min(granted, len(os.sched_getaffinity(0)))


def test_without_control_groups_the_affinity_counts(tmp_path: Path) -> None:
    assert available_cores(tmp_path, tmp_path / "absent") == len(os.sched_getaffinity(0))
