"""Generated clients, installed as users install them, ask the running mesh: one table of questions for all languages.

Each language has a program in `clients/` that asks them, with the addresses of three servers: the mesh, one that never
answers, and one that is unavailable once. It prints what came out as JSON.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from predmesh_testing.envoy import running_tls_before
from predmesh_testing.needs import find, needs
from predmesh_testing.redis_tls import Certificates
from predmesh_testing.running import FLIGHT, RunningMesh

from tests.e2e.client_builds import SECONDS, Workshop, browser, done, go, java, node, python_newest, python_oldest


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


@pytest.fixture(scope="module")
def secured(flights_mesh: RunningMesh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The mesh behind TLS, and the certificate of the private authority that vouches for it."""
    folder = tmp_path_factory.mktemp("tls")
    certificates = Certificates(folder)
    with running_tls_before(flights_mesh.address, certificates.server, folder) as url:
        yield url, certificates.authority


def trusting(authority: Path) -> dict[str, str]:
    """What makes the program of each language trust *authority*."""
    store = authority.with_suffix(".p12")
    if find("keytool") and not store.exists():
        words = ("-importcert", "-noprompt", "-storetype", "PKCS12", "-storepass", "changeit")
        done("keytool", *words, "-file", authority, "-keystore", store, folder=authority.parent)
    return {
        "TRUSTED": str(authority),  # the Python program hands it to its clients
        "NODE_EXTRA_CA_CERTS": str(authority),
        "SSL_CERT_FILE": str(authority),
        "JAVA_TOOL_OPTIONS": f"-Djavax.net.ssl.trustStore={store} -Djavax.net.ssl.trustStorePassword=changeit",
    }


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
    program = workshop.program(build)
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


@pytest.mark.parametrize("build", [each for each in BUILDS if each.id not in ("browser", "python-oldest-dependencies")])
def test_a_generated_client_speaks_tls_and_trusts_whom_it_is_told_to(
    build: Callable[[Workshop], list[str]],
    workshop: Workshop,
    secured: tuple[str, Path],
    flaky: tuple[Flaky, str],
    silent: str,
) -> None:
    program, (url, authority) = workshop.program(build), secured
    said = json.loads(done(*program, url, silent, flaky[1], folder=workshop.folder, **trusting(authority)))
    assert 0 < said["predict"] < 1
    assert said["refused"]["reason"] == "ERROR_REASON_INVALID_REQUEST"

    trustless = subprocess.run(
        [*program, url, silent, flaky[1]], cwd=workshop.folder, capture_output=True, text=True, timeout=SECONDS
    )
    assert trustless.returncode != 0
    assert re.search("PredictionError|PredictionException|Unavailable: ", trustless.stderr), trustless.stderr
    assert "certificat" in trustless.stderr.lower()
