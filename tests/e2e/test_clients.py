"""Generated clients, installed as users install them, ask the running mesh: one table of questions for all languages.

Each language has a program in `clients/` that asks them, with the addresses of three servers: the mesh, one that never
answers, and one that is unavailable once. It prints what came out as JSON.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from predmesh_testing.needs import needs
from predmesh_testing.running import FLIGHT, RunningMesh

from tests.e2e.client_builds import Workshop, browser, done, go, java, node, python_newest, python_oldest


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


@pytest.fixture(scope="module")
def workshop(flights_mesh: RunningMesh, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(flights_mesh, tmp_path_factory.mktemp("workshop"))


BUILDS: list[Any] = [
    pytest.param(python_newest, id="python"),
    pytest.param(python_oldest, id="python-oldest-dependencies"),
    pytest.param(node, marks=needs("node", "npm"), id="node"),
    pytest.param(browser, marks=needs("node", "npm", "headless-chromium"), id="browser"),
    pytest.param(go, marks=needs("go"), id="go"),
    pytest.param(java, marks=needs("mvn", "java"), id="java"),
]


@pytest.mark.parametrize("build", BUILDS)
def test_a_generated_client_calls_the_mesh(
    build: Callable[[Workshop], list[str]],
    workshop: Workshop,
    flights_mesh: RunningMesh,
    silent: str,
    flaky: tuple[Flaky, str],
) -> None:
    program = build(workshop)
    servers = (f"http://{flights_mesh.address}", silent, flaky[1])
    said = json.loads(done(*program, *servers, folder=workshop.folder))

    generic = flights_mesh.post("/v1/models/flight-delay:explain", {"instances": [FLIGHT], "top": 2}).json()
    known = generic["prediction"]["predictions"][0]["late_probability"]
    assert said["predict"] == known
    assert said["bundle"] == generic["prediction"]["bundleId"]
    assert said["batch"] == [known, known]
    assert said["explain"] == [each["feature"] for each in generic["explanations"][0]["attributions"]]
    first, refused, last = said["stream"]
    assert (first, refused["code"], last) == (known, "INVALID_ARGUMENT", known)
    if "long" in said:  # More rows than a browser sends at a time.
        wrong = [row for row, answer in enumerate(said["long"]) if answer != known]
        assert (len(said["long"]), wrong) == (250, [49, 99, 149, 199, 249])
    assert said["refused"]["code"] == "INVALID_ARGUMENT"
    assert said["refused"]["reason"] == "ERROR_REASON_INVALID_REQUEST"
    [violation] = said["refused"]["violations"]
    assert violation["field"] == "instances[0].carrier"
    assert "did you mean 'UA'?" in violation["description"]
    assert said["late"]["code"] == "DEADLINE_EXCEEDED"
    assert said["retried"]
    assert said.get("tokens", flaky[0].tokens) == ["Bearer secret", "Bearer secret"]
