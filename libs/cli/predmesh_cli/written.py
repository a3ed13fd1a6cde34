"""Writes down all that the programs of a mesh read when they start."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from predmesh_gateway import bootstrap, envoy
from predmesh_gateway.settings import Settings as GatewaySettings
from predmesh_inference import tritonserver
from predmesh_rpc.addresses import LOOPBACK
from predmesh_rpc.settings import SettingsError, read

from predmesh_cli import launch
from predmesh_cli.errors import CliError
from predmesh_cli.home import Home
from predmesh_cli.mesh_settings import MeshSettings
from predmesh_cli.passwords import passwords, write_private
from predmesh_cli.redis_server import acl, configuration, redis_binary
from predmesh_cli.supervisor_ini import supervisor_ini
from predmesh_cli.topology import GATEWAY, Engines, Mesh, Program, topology
from predmesh_cli.workers import gateway_threads, service_of

GATEWAY_PREFIX = "GATEWAY_"
INHERITED = frozenset({"PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "XDG_RUNTIME_DIR"})
INHERITED_PREFIXES = (
    *("LC_", "OTEL_", "CUDA_", "NVIDIA_", "PREDMESH_"),
    *("FEATURES_", "PREPROCESSING_", "INFERENCE_", "EXPLANATION_", "PREDICTION_", GATEWAY_PREFIX),
)


@dataclass(frozen=True, slots=True)
class Described:
    """A mesh with its programs."""

    mesh: Mesh
    programs: tuple[Program, ...]

    @property
    def supervisor_socket(self) -> Path:
        """Where the supervisor answers."""
        return self.mesh.socket("supervisor")

    @property
    def gateway_url(self) -> str:
        """The base of REST calls."""
        return f"http://{LOOPBACK}:{self.mesh.settings.port}"

    def program(self, name: str) -> Program:
        """The program called *name*."""
        return next(program for program in self.programs if program.name == name)


def describe(home: Home, settings: MeshSettings) -> Described:
    """The mesh of *home*; its passwords are made where they are missing."""
    mesh = Mesh(
        home=home,
        settings=settings,
        passwords=passwords(home.secrets),
        store=store_folder(home, os.environ),
        python=sys.executable,
        inherited=inherited(os.environ),
    )
    return Described(mesh, topology(mesh, _engines(mesh)))


def store_folder(home: Home, environ: Mapping[str, str]) -> Path:
    """Where bundles and generations are: PREDMESH_STORE, else in the home."""
    named = environ.get("PREDMESH_STORE")
    return Path(named).expanduser().resolve() if named else home.store


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """What of *environ* the programs get: nothing that they could not need, so no secret of the caller's shell."""
    return {
        name: value
        for name, value in environ.items()
        if name in INHERITED or (name.startswith(INHERITED_PREFIXES) and not _chosen(name))
    }


def _chosen(name: str) -> bool:
    """Whether the mesh itself chooses *name*, e.g. FEATURES_ADDRESS."""
    return name == launch.MARK or name.endswith(("_ADDRESS", "_INSTANCE", "_URL"))


def _engines(mesh: Mesh) -> Engines:
    return Engines(
        redis=(str(redis_binary().path), str(mesh.home.run / "redis.conf")),
        triton=tuple(tritonserver.words(triton_settings(mesh))),
        envoy=tuple(envoy.argv(gateway_settings(mesh), mesh.home.run / "envoy.yaml")),
    )


def triton_settings(mesh: Mesh) -> tritonserver.TritonSettings:
    """How this mesh's Triton is started."""
    return tritonserver.TritonSettings(
        repository=mesh.home.triton,
        address=mesh.triton,
        metrics_address=mesh.at("triton_metrics"),
        shm_prefix=mesh.home.shm_prefix,
    )


def gateway_settings(mesh: Mesh) -> GatewaySettings:
    """How this mesh's gateway is configured: the operator's GATEWAY_ variables, and what the mesh chooses."""
    workers = mesh.workers("prediction")
    chosen = mesh.environment(
        GATEWAY,
        GATEWAY_ADDRESS=f"{LOOPBACK}:{mesh.settings.port}",
        GATEWAY_ADMIN_ADDRESS=mesh.unix("envoy-admin"),
        GATEWAY_PREDICTION_ADDRESSES=",".join(mesh.unix(worker) for worker in workers),
        GATEWAY_PREDICTION_WEBSOCKET_ADDRESSES=",".join(mesh.websockets(worker) for worker in workers),
    )
    chosen.setdefault("GATEWAY_CONCURRENCY", str(gateway_threads(mesh.settings.processes)))
    try:
        return read(GatewaySettings, GATEWAY_PREFIX, chosen)
    except SettingsError as error:
        raise CliError(str(error), hint="mend them where they are set: in the shell, or in mesh.toml") from None


def write(described: Described) -> None:
    """Write the configuration of every program and of the supervisor."""
    mesh = described.mesh
    run = mesh.home.run
    assert mesh.settings.sockets is not None
    mesh.settings.sockets.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(run / "users.acl", acl(mesh.passwords))
    write_private(run / "redis.conf", _redis_configuration(mesh))
    write_private(run / "envoy.yaml", bootstrap.to_yaml(gateway_settings(mesh)))
    for program in described.programs:
        write_private(mesh.home.programs / f"{program.name}.json", spec(program, mesh.home.record(program.name)))
    write_private(mesh.home.supervisor_configuration, _supervisor(described))
    write_private(mesh.home.scrape_targets, scrape_targets(described.programs))


def spec(program: Program, record: Path) -> str:
    """What the launcher needs to become *program*."""
    document = {
        "argv": program.argv,
        "environment": dict(program.environment),
        "directory": str(program.directory),
        "death_signal": int(program.death_signal),
        "record": str(record),
    }
    return json.dumps(document, indent=2) + "\n"


def scrape_targets(programs: Sequence[Program]) -> str:
    """Where metrics are, as Prometheus reads it (file_sd_configs); a unix socket is out of its reach."""
    targets = [
        {"targets": [program.metrics], "labels": {"service": service_of(program.name), "worker": program.name}}
        for program in programs
        if program.metrics and not program.metrics.startswith("unix:")
    ]
    return json.dumps(targets, indent=2) + "\n"


def launcher() -> Sequence[str]:
    """The command that stands before every program: an interpreter without site packages, up in 20 ms."""
    return (sys.executable, "-I", "-S", launch.__file__)


def _redis_configuration(mesh: Mesh) -> str:
    return configuration(
        port=mesh.settings.ports["redis"],
        socket=mesh.socket("redis"),
        data=mesh.home.redis_data,
        acl_file=mesh.home.run / "users.acl",
        max_memory_mb=mesh.settings.redis_max_memory_mb,
    )


def _supervisor(described: Described) -> str:
    home = described.mesh.home
    return supervisor_ini(
        described.programs,
        run=home.run,
        logs=home.logs,
        socket=described.supervisor_socket,
        launcher=launcher(),
        specs=home.programs,
    )
