"""Which programs make up a mesh on one machine, how each is started and asked for its health; a pure description."""

from __future__ import annotations

import enum
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from predmesh_rpc.addresses import LOOPBACK

from predmesh_cli.home import Home
from predmesh_cli.launch import MARK
from predmesh_cli.mesh_settings import MeshSettings
from predmesh_cli.passwords import Passwords
from predmesh_cli.workers import SERVICES, Counts, service_of, worker_names

GATEWAY = "envoy"
ENGINES = ("redis", "triton")


def program_names(processes: Counts) -> tuple[str, ...]:
    """Every program of a mesh, in the order in which people read them."""
    workers = (worker for service in SERVICES for worker in worker_names(service, processes))
    return (*ENGINES, *workers, GATEWAY)


class Tier(enum.IntEnum):
    """What ends before what: the supervisor ends the highest tier first."""

    ENGINES = 100
    SERVICES = 200
    EDGE = 300


class Kind(enum.Enum):
    """What a program is: how it is asked for its health and its figures, and when it ends."""

    SERVICE = Tier.SERVICES, "service"
    REDIS = Tier.ENGINES, "redis"
    TRITON = Tier.ENGINES, "triton"
    ENVOY = Tier.EDGE, "envoy"

    @property
    def tier(self) -> Tier:
        """When it ends."""
        return self.value[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One supervised program."""

    name: str
    kind: Kind
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    """Everything that it gets; may hold passwords."""
    directory: Path
    address: str
    """Where it answers health checks."""
    secret: str = field(default="", repr=False)
    """What it wants to hear before it answers; empty when nothing."""
    metrics: str = ""
    """Where its Prometheus metrics are, `host:port` or `unix:/path`; empty when it has none."""
    metrics_path: str = "/metrics"
    death_signal: signal.Signals = signal.SIGKILL
    """What it gets from the kernel when the supervisor ends."""
    stop_seconds: int = 10
    """Time between TERM and KILL."""
    stop_as_group: bool = False
    """Whether TERM goes to its children as well; KILL always does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """Command lines of the servers that are not ours, as their owners' packages give them."""

    redis: tuple[str, ...]
    triton: tuple[str, ...]
    envoy: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """All that the description depends on."""

    home: Home
    settings: MeshSettings
    passwords: Passwords = field(repr=False)
    store: Path
    """Folder of bundles and generations."""
    python: str
    """The interpreter that runs the services."""
    inherited: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What of the caller's environment every program sees."""

    def socket(self, name: str) -> Path:
        """The unix socket called *name*."""
        assert self.settings.sockets is not None
        return self.settings.sockets / f"{name}.sock"

    def at(self, port: str) -> str:
        """The loopback address of an internal port."""
        return f"{LOOPBACK}:{self.settings.ports[port]}"

    def unix(self, name: str) -> str:
        """The gRPC address of a unix socket."""
        return f"unix:{self.socket(name)}"

    def workers(self, service: str) -> tuple[str, ...]:
        """The programs of *service*."""
        return worker_names(service, self.settings.processes)

    def websockets(self, worker: str) -> str:
        """Where *worker* opens WebSockets."""
        return self.unix(f"{worker}-ws")

    @property
    def triton(self) -> str:
        """Triton's gRPC address; it joins folder and port by a colon, also for a unix socket."""
        return f"{self.unix('triton')}:1"

    def environment(self, program: str, **own: str) -> dict[str, str]:
        """The environment of *program*: what all share, the operator's variables, its own."""
        return {
            **self.inherited,
            "PREDMESH_HOME": str(self.home.root),
            "PREDMESH_STORE": str(self.store),
            MARK: f"{self.home.root}:{program}",
            **self.settings.environment,
            **own,
        }


def topology(mesh: Mesh, engines: Engines) -> tuple[Program, ...]:
    """The programs of *mesh*, in the order of `program_names`."""
    workers = (worker for service in SERVICES for worker in mesh.workers(service))
    return (
        _redis(mesh, engines),
        _triton(mesh, engines),
        *(_worker(mesh, name) for name in workers),
        _envoy(mesh, engines),
    )


def redis_url(mesh: Mesh, user: str) -> str:
    """How *user* reaches the online store, by its unix socket; a secret."""
    return f"unix://{user}:{getattr(mesh.passwords, user)}@{quote(str(mesh.socket('redis')))}?db=0"


def _redis(mesh: Mesh, engines: Engines) -> Program:
    return Program(
        name="redis",
        kind=Kind.REDIS,
        argv=engines.redis,
        environment=mesh.environment("redis"),
        directory=mesh.home.redis_data,
        address=str(mesh.socket("redis")),
        secret=mesh.passwords.watcher,
        death_signal=signal.SIGTERM,  # it then writes out what it holds
        stop_seconds=20,
    )


def _triton(mesh: Mesh, engines: Engines) -> Program:
    return Program(
        name="triton",
        kind=Kind.TRITON,
        argv=engines.triton,
        environment=mesh.environment("triton"),
        directory=mesh.home.triton,
        address=mesh.triton,
        metrics=mesh.at("triton_metrics"),
        death_signal=signal.SIGTERM,  # its parent then ends the models' processes and frees their memory
        stop_seconds=16,  # Triton drains for up to 10 s, its parent waits 3 s more
    )


def _envoy(mesh: Mesh, engines: Engines) -> Program:
    return Program(
        name=GATEWAY,
        kind=Kind.ENVOY,
        argv=engines.envoy,
        environment=mesh.environment(GATEWAY),
        directory=mesh.home.run,
        address=mesh.unix("envoy-admin"),
        metrics=mesh.unix("envoy-admin"),
        metrics_path=f"/stats/prometheus?filter={quote(_GATEWAY_FIGURES)}",
        stop_seconds=5,
    )


# Streams, which last as long as their callers like, go to the other cluster of prediction.
_GATEWAY_FIGURES = "(public.downstream_rq_completed|prediction_unary.upstream_rq_time)$"


def _worker(mesh: Mesh, name: str) -> Program:
    service = service_of(name)
    prefix, metrics = service.upper(), mesh.at(f"{name}_metrics")
    own = {
        f"{prefix}_ADDRESS": mesh.unix(name),
        f"{prefix}_INSTANCE": name,
        f"{prefix}_METRICS_ADDRESS": metrics,
        **_knows(mesh, service, name),
    }
    return Program(
        name=name,
        kind=Kind.SERVICE,
        argv=(mesh.python, "-m", f"predmesh_{service}"),
        environment=mesh.environment(name, **own),
        directory=mesh.home.run,
        address=mesh.unix(name),
        metrics=metrics,
        stop_seconds=15,
    )


def _knows(mesh: Mesh, service: str, worker: str) -> Mapping[str, str]:
    """Whom *worker* of *service* depends on: it gets their addresses, and no other password than it needs."""
    triton = mesh.triton
    depends: dict[str, dict[str, str]] = {
        "features": {
            "PREDMESH_REDIS_URL": redis_url(mesh, "features"),
            "PREDMESH_REDIS_WRITE_URL": redis_url(mesh, "writer"),
        },
        "inference": {
            "PREDMESH_TRITON_ADDRESS": triton,
            "INFERENCE_TRITON_ADDRESS": triton,
            "INFERENCE_TRITON_REPOSITORY": str(mesh.home.triton),
        },
        "prediction": {
            "PREDMESH_TRITON_ADDRESS": triton,
            "PREDICTION_TRITON_ADDRESS": f"h2+{triton}",
            # For bundles whose features are looked up in process; it writes none.
            "PREDMESH_REDIS_URL": redis_url(mesh, "features"),
            "PREDICTION_WEBSOCKET_ADDRESS": mesh.websockets(worker),
            **{f"PREDICTION_{stage.upper()}_ADDRESS": _stage(mesh, stage) for stage in _STAGES},
        },
    }
    return depends.get(service, {})


def _stage(mesh: Mesh, service: str) -> str:
    """Where prediction calls the stage *service*: its processes."""
    return ",".join(f"h2+{mesh.unix(worker)}" for worker in mesh.workers(service))


_STAGES: Sequence[str] = ("features", "preprocessing", "explanation")
