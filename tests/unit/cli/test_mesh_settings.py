"""What an operator may change, and how ports are chosen and kept."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from predmesh_cli.errors import CliError
from predmesh_cli.home import Home
from predmesh_cli.mesh_settings import (
    MeshSettings,
    asked_port,
    asked_workers,
    completed,
    internal_ports,
    read_settings,
    settings_text,
)

HOME = Home(Path("/srv/mesh"))


def numbered(first: int) -> Callable[[int], list[int]]:
    numbers = count(first)
    return lambda wanted: [next(numbers) for _ in range(wanted)]


def complete(
    settings: MeshSettings, *, port: int | None = None, workers: str | None = None, taken: int = 0, first: int = 40000
) -> MeshSettings:
    return completed(
        settings,
        HOME,
        port=port,
        workers=workers,
        cores=2,
        is_free=lambda number: number != taken,
        free_ports=numbered(first),
    )


def test_the_first_start_chooses_every_port_once() -> None:
    chosen = complete(MeshSettings())
    assert chosen.port == 8080
    assert set(chosen.ports) == set(internal_ports({}))
    assert len(set(chosen.ports.values())) == len(chosen.ports)
    assert chosen.sockets == HOME.run


def test_ports_are_kept_where_they_are_free() -> None:
    first = complete(MeshSettings())
    taken = first.ports["redis"]
    second = complete(first, taken=taken, first=50000)
    assert second.ports["redis"] == 50000
    assert {**second.ports, "redis": taken} == first.ports


def test_port_zero_takes_a_free_one() -> None:
    assert complete(MeshSettings(port=9000), port=0).port >= 40000


def test_a_home_that_moved_moves_its_sockets() -> None:
    assert complete(MeshSettings(sockets=Path("/old/mesh/run"))).sockets == HOME.run


def test_each_process_has_a_port_for_its_metrics() -> None:
    chosen = complete(MeshSettings(), workers="prediction=2")
    assert chosen.processes == {"prediction": 2, "features": 1, "preprocessing": 1}
    assert {"prediction.0_metrics", "prediction.1_metrics", "features_metrics"} <= set(chosen.ports)
    assert "prediction_metrics" not in chosen.ports


def test_workers_stay_as_they_were_asked_for_last() -> None:
    first = complete(MeshSettings(), workers="2")
    assert complete(first).processes == first.processes == {"prediction": 2, "features": 2, "preprocessing": 2}
    assert set(complete(first, workers="auto").processes.values()) == {1}


def test_settings_survive_being_written(tmp_path: Path) -> None:
    settings = complete(MeshSettings(port=9000, environment={"A_B": 'say "é" \\ %'}), workers="prediction=3")
    path = tmp_path / "mesh.toml"
    path.write_text(settings_text(settings))
    assert read_settings(path) == settings


def test_no_file_means_no_settings(tmp_path: Path) -> None:
    assert read_settings(tmp_path / "mesh.toml") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("port = \n", "line 1"),
        ("prot = 1", "unknown setting 'prot'"),
        ("port = 70000", "from 1 to 65535"),
        ('port = "8080"', "whole number"),
        ("environment = 3", "must be a table"),
        ("[ports]\nredis = true", "redis must be a whole number"),
        ("sockets = 3", "sockets must be a path"),
        ('workers = "many"', "not 'many'"),
        ('workers = "predictions=2"', "did you mean 'prediction'"),
        ("[processes]\nfeatures = 0", "from 1 to 64"),
    ],
)
def test_a_broken_file_is_named_with_its_fault(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mesh.toml"
    path.write_text(text)
    with pytest.raises(CliError) as raised:
        read_settings(path)
    assert said in raised.value.message
    assert str(path) in raised.value.message
    assert raised.value.hint


def test_the_flag_wins_over_the_environment() -> None:
    assert asked_port(9000, {"PREDMESH_PORT": "9001"}) == 9000
    assert asked_port(None, {"PREDMESH_PORT": "9001"}) == 9001
    assert asked_port(None, {}) is None


def test_workers_are_asked_for_by_flag_then_environment() -> None:
    assert asked_workers("2", {"PREDMESH_WORKERS": "3"}) == "2"
    assert asked_workers(None, {"PREDMESH_WORKERS": "prediction=3"}) == "prediction=3"
    assert asked_workers(None, {}) is None


@pytest.mark.parametrize(("flag", "variable", "said"), [("0", "", "--workers"), (None, "x", "PREDMESH_WORKERS")])
def test_workers_that_cannot_be_are_refused(flag: str | None, variable: str, said: str) -> None:
    with pytest.raises(CliError, match=said) as raised:
        asked_workers(flag, {"PREDMESH_WORKERS": variable})
    assert raised.value.code == 2


def test_a_port_in_the_environment_that_is_none_is_refused() -> None:
    with pytest.raises(CliError, match="PREDMESH_PORT"):
        asked_port(None, {"PREDMESH_PORT": "eighty"})
