"""The peers: how each is started, how it is asked, and the settings that are tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtests.bench.flights import COLUMNS, Row, rest_body
from loadtests.bench.scenarios import Face

FOLDER = Path(__file__).resolve().parent


class Degraded(Exception):
    """An answer says that something was missing when it was made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How a server is asked, and how it answers."""

    face: Face = Face.REST
    path: str = "/predict"
    """Of the URL; over gRPC `package.Service/Method`."""
    body: Callable[[Sequence[Row]], dict[str, Any]] = rest_body
    """The JSON form of a request."""
    answers: Callable[[Any], list[float]]
    """The probabilities in the JSON form of an answer. Raises Degraded."""
    proto: str = ""
    """File of the gRPC contract, from the repository's root. Default: Predmesh's own."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to run a peer."""

    name: str
    variables: Mapping[str, str]
    """Of its environment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One peer; its folder has its name, its environment and its server."""

    name: str
    title: str
    package: str
    """Whose version is shown."""
    dialect: Dialect
    command: tuple[str, ...]
    """`{port}` and `{folder}` are filled in."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Of its environment, in every setting; `{port}`, `{spare_port}`, `{other_port}` and `{scratch}` are filled in."""
    settings: tuple[Setting, ...]

    @property
    def folder(self) -> Path:
        """Where its server, its `pyproject.toml` and its lock are."""
        return FOLDER / self.name

    @property
    def environment(self) -> Path:
        """Where it is installed."""
        return self.folder / ".venv"


def v2_body(rows: Sequence[Row]) -> dict[str, Any]:
    """A request of the Open Inference Protocol: one tensor an input, a plane that is not known as an empty string."""
    kinds = {"distance_miles": "FP64"}
    return {
        "inputs": [
            {
                "name": name,
                "shape": [len(rows)],
                "datatype": kinds.get(name, "BYTES"),
                "data": [row.get(name, "") for row in rows],
            }
            for name in COLUMNS
        ]
    }


INSTANCES = Dialect(answers=lambda answer: list(answer["predictions"]))
BARE_LIST = Dialect(answers=list)
V2 = Dialect(
    path="/v2/models/flight-delay/infer", body=v2_body, answers=lambda answer: list(answer["outputs"][0]["data"])
)
GRPC = Dialect(
    face=Face.GRPC,
    path="peer.v1.FlightDelay/Predict",
    answers=lambda answer: list(answer["predictions"]),
    proto="loadtests/peers/grpc_aio/flight_delay.proto",
)

PEERS = (
    Peer(
        name="fastapi",
        title="FastAPI",
        package="fastapi",
        dialect=INSTANCES,
        command=("uvicorn", "loadtests.peers.fastapi.server:app", "--port={port}", "--no-access-log"),
        settings=(
            Setting("1 worker", {"WEB_CONCURRENCY": "1"}),
            Setting("2 workers", {"WEB_CONCURRENCY": "2"}),
        ),
    ),
    Peer(
        name="bentoml",
        title="BentoML",
        package="bentoml",
        dialect=BARE_LIST,
        command=(
            "bentoml",
            "serve",
            "loadtests.peers.bentoml.server:FlightDelayService",
            "--host=127.0.0.1",
            "--port={port}",
        ),
        variables={"BENTOML_DO_NOT_TRACK": "True", "PEER_MAX_LATENCY_MS": "10000"},
        settings=(
            Setting("1 worker", {"PEER_WORKERS": "1"}),
            Setting("2 workers", {"PEER_WORKERS": "2"}),
        ),
    ),
    Peer(
        name="ray",
        title="Ray Serve",
        package="ray",
        dialect=INSTANCES,
        command=("python", "-m", "loadtests.peers.ray.server"),
        variables={
            "PEER_PORT": "{port}",
            "RAY_USAGE_STATS_ENABLED": "0",
            # On Linux Ray otherwise replaces 127.0.0.1 by an address that others may reach.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        },
        settings=(
            Setting("1 replica, 10 ms", {"PEER_WORKERS": "1", "PEER_WAIT_SECONDS": "0.01"}),
            Setting("1 replica, no wait", {"PEER_WORKERS": "1", "PEER_WAIT_SECONDS": "0"}),
            Setting("2 replicas, no wait", {"PEER_WORKERS": "2", "PEER_WAIT_SECONDS": "0"}),
        ),
    ),
    Peer(
        name="mlserver",
        title="MLServer",
        package="mlserver",
        dialect=V2,
        command=("mlserver", "start", "{folder}/model"),
        variables={
            "MLSERVER_HOST": "127.0.0.1",
            "MLSERVER_HTTP_PORT": "{port}",
            "MLSERVER_GRPC_PORT": "{spare_port}",
            "MLSERVER_METRICS_PORT": "{other_port}",
            "MLSERVER_DEBUG": "false",
            "MLSERVER_ENVIRONMENTS_DIR": "{scratch}/envs",
            "MLSERVER_METRICS_DIR": "{scratch}",
            "MLSERVER_MODEL_MAX_BATCH_SIZE": "64",
        },
        settings=(
            Setting("1 worker, 1 ms", {"MLSERVER_PARALLEL_WORKERS": "1", "MLSERVER_MODEL_MAX_BATCH_TIME": "0.001"}),
            Setting("2 workers, 1 ms", {"MLSERVER_PARALLEL_WORKERS": "2", "MLSERVER_MODEL_MAX_BATCH_TIME": "0.001"}),
        ),
    ),
    Peer(
        name="litserve",
        title="LitServe",
        package="litserve",
        dialect=INSTANCES,
        command=("python", "-m", "loadtests.peers.litserve.server"),
        variables={"PEER_PORT": "{port}", "PEER_WAIT_SECONDS": "0.001"},
        settings=(
            Setting("1 worker", {"PEER_WORKERS": "1", "PEER_FAST_QUEUE": "0"}),
            Setting("1 worker, fast queue", {"PEER_WORKERS": "1", "PEER_FAST_QUEUE": "1"}),
            Setting("2 workers", {"PEER_WORKERS": "2", "PEER_FAST_QUEUE": "0"}),
        ),
    ),
    Peer(
        name="grpc_aio",
        title="grpc.aio",
        package="grpcio",
        dialect=GRPC,
        command=("python", "-m", "loadtests.peers.grpc_aio.server"),
        variables={"PEER_PORT": "{port}"},
        settings=(
            Setting("1 process", {"PEER_WORKERS": "1"}),
            Setting("2 processes", {"PEER_WORKERS": "2"}),
        ),
    ),
)
