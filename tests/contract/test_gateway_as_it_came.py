"""Envoy sends REST calls with a body to prediction as they came, within the limits of the transcoded ones.

Prediction here is a server of our own without gRPC, so that its answers can be chosen.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2
from predmesh_gateway.settings import Settings
from predmesh_rpc.grpc_frames import framed
from predmesh_rpc.http_messages import HttpLimits, HttpRequest, HttpResponse
from predmesh_rpc.http_server import HttpServer
from predmesh_rpc.http_serving import Dialogue, InParts, Whole
from predmesh_testing.envoy import Gateway, running_gateway

PREDICT = "/v1/models/echo:predict"
MAX_BODY_BYTES = 3 * 1024 * 1024
"""More than the buffer of a connection, 1 MiB."""


@dataclass
class Front:
    """What the front was sent, and the statuses that it answers with, 200 once they are used up."""

    requests: list[tuple[str, str, dict[str, str], int]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    held: threading.Event | None = None


class _Answering:
    def __init__(self) -> None:
        self.front = Front()

    def found(self, request: HttpRequest) -> Whole | InParts:
        return InParts(self._healthy) if "/grpc.health" in request.target else Whole(self._answer)

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        front = self.front
        front.requests.append((request.verb, request.target, dict(request.headers), len(request.body)))
        if front.held:
            await asyncio.to_thread(front.held.wait, 10)
        status = front.statuses.pop(0) if front.statuses else 200
        return HttpResponse(status, b"application/json", json.dumps({"bytes": len(request.body)}).encode())

    async def _healthy(self, dialogue: Dialogue) -> None:
        well = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING).SerializeToString()
        dialogue.respond(HttpResponse(200, b"application/grpc", framed(well), (), (("grpc-status", "0"),)))


Post = Callable[..., tuple[int, dict[str, str], Any]]


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Gateway]:
    settings = Settings(
        prediction_addresses=(f"unix:{folder / 'front.sock'}",),
        max_body_bytes=MAX_BODY_BYTES,
        request_timeout_seconds=5,
    )
    with running_gateway(settings, folder) as running:
        yield running


@contextlib.contextmanager
def calling(gateway: Gateway) -> Iterator[Post]:
    connection = http.client.HTTPConnection(gateway.address, timeout=10)

    def call(path: str = PREDICT, body: bytes = b"{}", **headers: str) -> tuple[int, dict[str, str], Any]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST", path, body, {"content-type": "application/json", **named})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, json.loads(answer.read())

    with contextlib.closing(connection):
        yield call


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("http")


@pytest.fixture(scope="module")
def answering(folder: Path) -> Iterator[_Answering]:
    answering, loop = _Answering(), asyncio.new_event_loop()
    server = HttpServer(answering, HttpLimits(kept_bytes=2 * MAX_BODY_BYTES, most_bytes=2 * MAX_BODY_BYTES))
    loop.run_until_complete(server.listen(f"unix:{folder / 'front.sock'}"))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield answering
    asyncio.run_coroutine_threadsafe(server.drain(0), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="module")
def gateway(answering: _Answering, folder: Path) -> Iterator[Gateway]:
    with serving(folder) as running:
        yield running


@pytest.fixture
def front(answering: _Answering) -> Front:
    answering.front = Front()
    return answering.front


@pytest.fixture
def post(gateway: Gateway) -> Iterator[Post]:
    with calling(gateway) as call:
        yield call


@pytest.mark.parametrize(
    "path", [PREDICT, "/v1/models/echo/versions/1:explain", "/v2/models/echo/infer", "/v2/models/echo/versions/1/infer"]
)
def test_a_posted_call_arrives_as_it_was_sent(post: Post, front: Front, path: str):
    status, headers, answer = post(path, b'{"instances": []}', inference_header_content_length="4")
    assert (status, answer) == (200, {"bytes": 17})
    ((method, arrived, sent, _),) = front.requests
    assert (method, arrived) == ("POST", path)
    assert sent["content-type"] == "application/json"
    assert sent["inference-header-content-length"] == "4"
    assert sent["x-request-id"] == headers["x-request-id"]
    assert "grpc-status" not in headers


def test_a_body_of_the_largest_size_arrives(post: Post, front: Front):
    assert post(body=b" " * MAX_BODY_BYTES)[2] == {"bytes": MAX_BODY_BYTES}
    assert len(front.requests) == 1


@pytest.mark.parametrize("chunked", [False, True])
def test_a_larger_body_is_refused_with_a_document(gateway: Gateway, front: Front, chunked: bool):
    connection = http.client.HTTPConnection(gateway.address, timeout=10)
    size = MAX_BODY_BYTES + 1
    connection.putrequest("POST", PREDICT)
    connection.putheader("content-type", "application/json")
    connection.putheader(*(("transfer-encoding", "chunked") if chunked else ("content-length", str(size))))
    connection.endheaders()
    with contextlib.suppress(OSError):  # it may be answered before all is sent
        connection.send(b"%x\r\n%b\r\n0\r\n\r\n" % (size, b" " * size) if chunked else b" " * size)
    answer = connection.getresponse()
    document = json.loads(answer.read())
    connection.close()
    assert (answer.status, document["code"]) == (413, 3)
    assert str(MAX_BODY_BYTES) in document["message"]
    assert not front.requests


@pytest.mark.parametrize("size", [2, MAX_BODY_BYTES])
def test_a_call_that_is_answered_unavailable_is_tried_again_with_its_body(post: Post, front: Front, size: int):
    front.statuses += [503, 503]
    status, _, answer = post(body=b" " * size)
    assert (status, answer) == (200, {"bytes": size})
    assert len({sent["x-request-id"] for _, _, sent, _ in front.requests}) == 1
    assert [sent["x-envoy-attempt-count"] for _, _, sent, _ in front.requests] == ["1", "2", "3"]


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503, 504])
def test_what_the_front_answers_reaches_the_caller(post: Post, front: Front, status: int):
    front.statuses += [status] * 3
    assert post()[::2] == (status, {"bytes": 2})
    assert len(front.requests) == (3 if status == 503 else 1)


def test_a_front_that_is_away_is_a_document(tmp_path_factory: pytest.TempPathFactory):
    with serving(tmp_path_factory.mktemp("away")) as gateway, calling(gateway) as post:
        status, headers, document = post()
    assert (status, document["code"]) == (503, 14)
    assert "predmesh status" in document["message"]
    assert document["details"][1]["requestId"] == headers["x-request-id"]
    assert headers["content-type"] == "application/json"


def test_a_call_past_its_deadline_is_a_document(post: Post, front: Front):
    front.held = threading.Event()
    status, _, document = post(grpc_timeout="200m")
    front.held.set()
    assert (status, document["code"]) == (504, 4)
