"""Generated clients, installed as users install them, ask the running mesh: one table of questions for all languages.

Each language has a program in `clients/` that asks them, with the addresses of three servers: the mesh, one that never
answers, and one that is unavailable once. It prints what came out as JSON.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from predmesh_testing.running import FLIGHT, ROOT, RunningMesh

PROGRAMS = Path(__file__).parent / "clients"
EVERYTHING = ROOT / "tests/unit/compiler/golden/everything"
UV = str(ROOT / ".tools/uv/bin/uv")
SECONDS = 180
LOCKED = "grpcio==1.85.1\nprotobuf==6.33.6\n"


def done(*words: str | Path, folder: Path) -> str:
    """What a program prints; a failing one fails the test with its words."""
    ran = subprocess.run(list(map(str, words)), cwd=folder, capture_output=True, text=True, timeout=SECONDS)
    assert ran.returncode == 0, f"{words[:3]}: {ran.stdout[-3000:]}\n{ran.stderr[-3000:]}"
    return ran.stdout


class Flaky(grpc.GenericRpcHandler):
    """A service that is unavailable at first, then answers every call by an empty message."""

    def __init__(self) -> None:
        self.tokens: list[str] = []

    def service(self, details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(self._answer)

    def _answer(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.tokens.append(str(dict(context.invocation_metadata()).get("authorization", "")))
        if len(self.tokens) == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        return b""


@pytest.fixture
def flaky() -> Iterator[tuple[Flaky, str]]:
    handler = Flaky()
    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield handler, f"http://127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def python_client(package: Path, folder: Path, *options: str) -> list[str]:
    """A Python of its own with the package's wheel and what it needs."""
    done(
        UV, "build", "-q", "--wheel", "--python", sys.executable, "--out-dir", folder / "wheels", package, folder=folder
    )
    done(UV, "venv", "-q", "--python", sys.executable, folder / "venv", folder=folder)
    python = folder / "venv/bin/python"
    [wheel] = (folder / "wheels").glob("*.whl")
    done(UV, "pip", "install", "-q", "--python", python, *options, wheel, folder=folder)
    return [str(python), "-W", "error", str(PROGRAMS / "calls.py")]


def python_newest(package: Path, folder: Path) -> list[str]:
    (folder / "locked.txt").write_text(LOCKED)
    return python_client(package, folder, "-c", str(folder / "locked.txt"))


def python_oldest(package: Path, folder: Path) -> list[str]:
    return python_client(package, folder, "--resolution", "lowest-direct")


BUILDS: list[Any] = [
    pytest.param("python", python_newest, id="python"),
    pytest.param("python", python_oldest, id="python-oldest-dependencies"),
]


@pytest.mark.parametrize(("language", "build"), BUILDS)
def test_a_generated_client_calls_the_mesh(
    language: str,
    build: Callable[[Path, Path], list[str]],
    flights_mesh: RunningMesh,
    silent: str,
    flaky: tuple[Flaky, str],
    tmp_path: Path,
) -> None:
    package = tmp_path / "package"
    both = ("flight-delay", "--from", str(EVERYTHING), "--name", "flights")
    flights_mesh.predmesh("client", *both, "--lang", language, "--out", str(package))
    program = build(package, tmp_path)
    said = json.loads(done(*program, f"http://{flights_mesh.address}", silent, flaky[1], folder=tmp_path))

    generic = flights_mesh.post("/v1/models/flight-delay:explain", {"instances": [FLIGHT], "top": 2}).json()
    known = generic["prediction"]["predictions"][0]["late_probability"]
    assert said["predict"] == known
    assert said["bundle"] == generic["prediction"]["bundleId"]
    assert said["batch"] == [known, known]
    assert said["explain"] == [each["feature"] for each in generic["explanations"][0]["attributions"]]
    first, refused, last = said["stream"]
    assert (first, refused["code"], last) == (known, "INVALID_ARGUMENT", known)
    assert said["refused"]["code"] == "INVALID_ARGUMENT"
    assert said["refused"]["reason"] == "ERROR_REASON_INVALID_REQUEST"
    [violation] = said["refused"]["violations"]
    assert violation["field"] == "instances[0].carrier"
    assert "did you mean 'UA'?" in violation["description"]
    assert said["late"]["code"] == "DEADLINE_EXCEEDED"
    assert said["retried"]
    assert flaky[0].tokens == ["Bearer secret", "Bearer secret"]
