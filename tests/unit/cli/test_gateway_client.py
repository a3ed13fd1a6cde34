"""Answers and refusals of a mesh, over real HTTP."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from predmesh_cli.errors import CliError, ExitCode
from predmesh_cli.gateway_client import GrpcGateway, RestGateway, refused
from predmesh_rpc.addresses import free_ports

REFUSAL = {
    "code": 3,
    "message": "2 values are not right",
    "details": [
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "ERROR_REASON_INVALID_REQUEST"},
        {
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{"field": "instances[0].origin", "description": "must be given"}],
        },
    ],
}


class Recorder(BaseHTTPRequestHandler):
    """Answers with what it was asked; a model called `bad` is refused."""

    def do_GET(self) -> None:
        self._answer(200, {"model": {"name": self.path}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self._answer(400, REFUSAL) if "/bad" in self.path else self._answer(200, {"path": self.path, "body": body})

    def _answer(self, status: int, document: Any) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *words: Any) -> None:
        """Says nothing."""


@pytest.fixture
def gateway() -> Iterator[RestGateway]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Recorder) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield RestGateway(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()


def test_a_version_is_part_of_the_path(gateway: RestGateway) -> None:
    assert gateway.predict("m", "2", [{}])["path"] == "/v1/models/m/versions/2:predict"
    assert gateway.predict("m", "", [{}])["path"] == "/v1/models/m:predict"
    assert gateway.describe("m", "")["name"] == "/v1/models/m"


def test_a_strange_name_cannot_leave_its_place(gateway: RestGateway) -> None:
    assert gateway.predict("../x y", "", [])["path"] == "/v1/models/..%2Fx%20y:predict"


def test_options_of_explain_are_sent_only_when_given(gateway: RestGateway) -> None:
    assert gateway.explain("m", "", [{"a": 1}], top=0, output="")["body"] == {"instances": [{"a": 1}]}
    assert gateway.explain("m", "", [], top=3, output="p")["body"] == {"instances": [], "top": 3, "output": "p"}


def test_a_refusal_lists_every_violation(gateway: RestGateway) -> None:
    with pytest.raises(CliError) as raised:
        gateway.predict("bad", "", [{}])
    assert raised.value.code is ExitCode.REFUSED
    assert "2 values are not right" in raised.value.message
    assert "instances[0].origin: must be given" in raised.value.message


def test_trouble_inside_the_mesh_is_not_the_callers_fault() -> None:
    error = refused({"code": 14, "message": "the online store is down"}, fallback="")
    assert error.code is ExitCode.FAILED
    assert "predmesh status" in error.hint


@pytest.mark.parametrize("kind", [RestGateway, GrpcGateway])
def test_no_mesh_says_how_to_start_one(kind: Any) -> None:
    [port] = free_ports(1)
    base = f"127.0.0.1:{port}"
    with pytest.raises(CliError) as raised:
        kind(f"http://{base}" if kind is RestGateway else base).predict("m", "", [{}])
    assert raised.value.code is ExitCode.NOT_RUNNING
    assert "predmesh up" in raised.value.hint


def test_a_row_over_grpc_must_be_an_object() -> None:
    with pytest.raises(CliError, match="JSON object"):
        GrpcGateway("127.0.0.1:1").predict("m", "", [3])
