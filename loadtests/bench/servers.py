"""Starts what is measured: a mesh of its own, the echoes, and the bare echo behind the gateway's own configuration."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import psutil
import yaml
from google.protobuf import json_format
from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh.prediction.v1.prediction_service_pb2_grpc import PredictionServiceStub
from predmesh_cli import processes
from predmesh_cli.home import Home
from predmesh_cli.mesh_settings import read_settings
from predmesh_cli.topology import GATEWAY
from predmesh_cli.written import describe, gateway_settings
from predmesh_gateway.settings import Settings as GatewaySettings
from predmesh_testing.envoy import running_gateway
from predmesh_testing.running import ROOT, RunningMesh, free_port

from loadtests.bench.asking import Ask
from loadtests.bench.scenarios import Route, Scenario, Server
from loadtests.references.transcoding import transcoding, write_descriptors

FLIGHTS, WINE = (ROOT / "examples" / name / "build" / "bundle" for name in ("flights", "wine"))
START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Started:
    """One server that answers scenarios.

    Attributes:
        direct: its unix socket, as gRPC dials it; of several processes of prediction, that of the first.
        gateway: `host:port` of the Envoy before it; empty where there is none.
        roots: pids to count as one program each, children included; for a mesh, its home says it.
        home: the mesh's home; None for an echo.
    """

    direct: str
    gateway: str
    roots: Mapping[str, int] = field(default_factory=dict)
    home: Home | None = None

    def host(self, scenario: Scenario) -> str:
        """Where *scenario* calls."""
        return self.direct if scenario.route is Route.DIRECT else self.gateway

    def pids(self) -> dict[int, str]:
        """Every process of it, by the program it belongs to."""
        if self.home is not None:
            return processes.of_mesh(self.home)
        return {
            process.pid: name
            for name, root in self.roots.items()
            for process in (psutil.Process(root), *psutil.Process(root).children(recursive=True))
        }


@contextlib.contextmanager
def running_mesh(
    folder: Path, *, workers: str = "", bundle: Path | None = None, patch: Mapping[str, Any] | None = None
) -> Iterator[Started]:
    """A mesh that serves flights and wine, brought down at the end.

    Args:
        folder: its home.
        workers: what `predmesh up --workers` gets; empty leaves it out.
        bundle: what to deploy in place of the example's flights.
        patch: keys that replace those of the flights' `predmesh.yaml`, e.g. its placement.
    """
    mesh = RunningMesh(folder, free_port())
    try:
        done(mesh, "up", "--port", str(mesh.port), *(("--workers", workers) if workers else ()))
        mesh.python("examples/flights/setup.py")
        if patch:
            bundle = patched(bundle or FLIGHTS, patch, folder / "patched")
        if bundle is not None:
            done(mesh, "deploy", str(bundle), "--replace")
        mesh.python("examples/wine/train.py")
        done(mesh, "deploy", str(WINE))
        home = Home.at(folder)
        yield Started(_own_gateway(home).prediction_addresses[0], mesh.address, home=home)
    finally:
        mesh.predmesh("down")


def done(mesh: RunningMesh, *words: str) -> None:
    """Runs the command line against *mesh*, or ends the program with what it said."""
    told = mesh.predmesh(*words, check=False)
    if told.returncode:
        raise SystemExit(f"predmesh {' '.join(words)} failed:\n{told.stderr}")


def patched(bundle: Path, patch: Mapping[str, Any], out: Path) -> Path:
    """A copy of *bundle* in *out*, whose `predmesh.yaml` has the keys of *patch*."""
    shutil.copytree(bundle, out, dirs_exist_ok=True)
    document = yaml.safe_load((bundle / "predmesh.yaml").read_text()) | dict(patch)
    (out / "predmesh.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    return out


def recorded_answer(direct: str, ask: Ask, out: Path) -> Path:
    """Writes what the socket *direct* answers to *ask*, for the echoes to give: the same size, field for field."""
    with grpc.insecure_channel(direct) as channel:
        stub: Any = PredictionServiceStub(channel)
        answer = stub.Predict(json_format.ParseDict(ask.message, pb.PredictRequest()), timeout=START_SECONDS)
    out.write_bytes(answer.SerializeToString())
    return out


@contextlib.contextmanager
def running_echoes(mesh: Started, answer: Path, model: str, folder: Path) -> Iterator[dict[Server, Started]]:
    """The dressed echo, and the bare one with gateways before it: one for gRPC and transcoded REST.

    Args:
        mesh: whose bundle the dressed echo validates with, and whose gateway's settings are taken.
        answer: file of the PredictResponse that they give.
        model: whose rows they take.
        folder: where their files go, short enough for unix sockets.
    """
    assert mesh.home is not None
    bare, dressed = folder / "bare.sock", folder / "dressed.sock"
    clothes = {
        "DRESSED_ADDRESS": f"unix:{dressed}",
        "DRESSED_STORE": str(mesh.home.store),
        "DRESSED_ANSWER": str(answer),
        "DRESSED_MODEL": model,
        "DRESSED_METRICS_ADDRESS": f"unix:{folder / 'dressed-metrics.sock'}",
    }
    settings = gateway_before(mesh.home, bare, write_descriptors(folder / "descriptors.binpb"))
    with (
        program_running("bare", bare, folder, "--socket", str(bare), "--answer", str(answer)) as bare_pid,
        program_running("dressed", dressed, folder, **clothes) as dressed_pid,
        running_gateway(settings, folder, written=transcoding) as gateway,
    ):
        programs = {"bare": bare_pid, GATEWAY: gateway.process.pid}
        yield {
            Server.BARE: Started(f"unix:{bare}", gateway.address, programs),
            Server.DRESSED: Started(f"unix:{dressed}", "", {"dressed": dressed_pid}),
        }


def gateway_before(home: Home, socket: Path, descriptors: Path) -> GatewaySettings:
    """The settings of the mesh's own gateway, with gRPC at *socket* behind it and nothing else."""
    behind = {
        name: spec.get_default(call_default_factory=True)
        for name, spec in GatewaySettings.model_fields.items()
        if name.startswith("prediction_")
    }
    chosen = {"prediction_addresses": (f"unix:{socket}",), "descriptors": descriptors}
    return _own_gateway(home).model_copy(update={**behind, **chosen})


def _own_gateway(home: Home) -> GatewaySettings:
    settings = read_settings(home.settings_file)
    assert settings is not None
    return gateway_settings(describe(home, settings).mesh)


@contextlib.contextmanager
def program_running(name: str, socket: Path, folder: Path, *words: str, **variables: str) -> Iterator[int]:
    """Runs `loadtests.references.<name>` until its socket is there; ends it."""
    log = folder / f"{name}.log"
    command = [sys.executable, "-m", f"loadtests.references.{name}", *words]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | variables, stdout=out, stderr=out)
    try:
        end = time.monotonic() + START_SECONDS
        while not socket.exists():
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the {name} echo did not start:\n{log.read_text()}")
            time.sleep(0.02)
        yield process.pid
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
        process.kill()
        process.wait()
