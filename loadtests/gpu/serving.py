"""A mesh of its own that serves the model."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from predmesh_cli.home import Home
from predmesh_testing.running import RunningMesh, free_port

from loadtests.bench.servers import done, patched
from loadtests.gpu.offline import BUNDLE, Offline, Plan

MODEL = "residual"


@dataclass(frozen=True, slots=True)
class Serving:
    """Where it answers.

    Attributes:
        gateway: `host:port` of Envoy.
        metrics: `host:port` of prediction's metrics.
    """

    gateway: str
    metrics: str


@contextlib.contextmanager
def serving(plan: Plan, offline: Offline, folder: Path) -> Iterator[Serving]:
    """Starts it in *folder* and deploys the file of *offline* as *plan* says; brought down at the end."""
    bundle = patched(BUNDLE, {"inference": plan.inference}, folder / "bundle")
    shutil.copy(offline.folder / "model.pt2", bundle)
    mesh = RunningMesh(folder / "home", free_port())
    try:
        # One prediction: rows that arrive at several would share fewer batches.
        done(mesh, "up", "--port", str(mesh.port), "--workers", "1")
        done(mesh, "deploy", str(bundle))
        yield Serving(mesh.address, metrics_of("prediction", Home.at(mesh.home).scrape_targets.read_text()))
    finally:
        mesh.predmesh("down", check=False)


def metrics_of(program: str, targets: str) -> str:
    """Where the metrics of *program* are, in the *targets* that a mesh writes for Prometheus."""
    (found,) = [each["targets"][0] for each in json.loads(targets) if each["labels"]["worker"] == program]
    return str(found)
