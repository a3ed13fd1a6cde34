"""The mesh that the peers are measured beside: it serves the flights by processes, and within prediction's own."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml
from predmesh_cli import processes
from predmesh_cli.home import Home
from predmesh_cli.mesh_settings import read_settings
from predmesh_cli.passwords import passwords
from predmesh_testing.running import RunningMesh, free_port

from examples.flights import train
from loadtests.bench.flights import MODEL, grpc_message
from loadtests.bench.generators import PREDICT
from loadtests.bench.scenarios import Face
from loadtests.peers.catalogue import Degraded, Dialect

IN_PROCESS = {"features": "in-process", "preprocessing": "in-process", "inference": "in-process"}


class Placement(StrEnum):
    """Where the stages of a prediction run; the value is said of Predmesh in tables."""

    PROCESSES = "processes"
    IN_PROCESS = "in process"

    @property
    def model(self) -> str:
        """The model that is served so."""
        return MODEL if self is Placement.PROCESSES else f"{MODEL}-in-process"

    def dialect(self, face: Face) -> Dialect:
        """How that model is asked."""
        if face is Face.GRPC:
            return Dialect(face=face, path=PREDICT, body=lambda rows: grpc_message(rows, self.model), answers=_answers)
        return Dialect(path=f"/v1/models/{self.model}:predict", answers=_answers)


@dataclass(frozen=True, slots=True)
class Mesh:
    """A mesh that runs."""

    address: str
    home: Home

    def pids(self) -> dict[int, str]:
        """Every process of it, by the program it belongs to."""
        return processes.of_mesh(self.home)

    def redis_connection(self) -> str:
        """How Feast reaches its online store, as the user who may only read; a secret."""
        settings = read_settings(self.home.settings_file)
        assert settings is not None
        password = passwords(self.home.secrets).features
        return f"127.0.0.1:{settings.ports['redis']},username=features,password={password}"


@contextlib.contextmanager
def running_mesh(folder: Path) -> Iterator[Mesh]:
    """A mesh of its own in *folder* that serves the flights in both placements; brought down at the end."""
    mesh = RunningMesh(folder / "home", free_port())
    try:
        mesh.predmesh("up", "--port", str(mesh.port))
        mesh.python("examples/flights/setup.py")
        mesh.predmesh("deploy", str(_in_process(train.BUNDLE, folder / "in-process")))
        yield Mesh(mesh.address, Home.at(mesh.home))
    finally:
        mesh.predmesh("down", check=False)


def _answers(answer: Any) -> list[float]:
    if degraded := answer.get("degraded"):
        raise Degraded(str(degraded))
    return [each["late_probability"] for each in answer["predictions"]]


def _in_process(bundle: Path, copy: Path) -> Path:
    shutil.copytree(bundle, copy)
    file = copy / "predmesh.yaml"
    document = yaml.safe_load(file.read_text()) | {"name": Placement.IN_PROCESS.model, "stages": IN_PROCESS}
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    return copy
