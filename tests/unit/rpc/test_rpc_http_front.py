"""What the HTTP/1.1 front does that gRPC does not: REST paths, JSON errors, connections."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.api import httpbody_pb2
from predmesh.prediction.v1 import prediction_http_service_pb2 as pb
from predmesh.prediction.v1.prediction_http_service_pb2_grpc import (
    PredictionHttpServiceServicer,
    add_PredictionHttpServiceServicer_to_server,
)
from predmesh_rpc import context
from predmesh_rpc.channels import connect
from predmesh_rpc.errors import InvalidInput, TooMuch, Violation
from predmesh_rpc.server import build
from predmesh_rpc.settings import ServiceSettings


class Rest(PredictionHttpServiceServicer):
    def __init__(self) -> None:
        self.entered, self.stopped = asyncio.Event(), asyncio.Event()

    async def PredictHttp(self, request: pb.PredictHttpRequest, context_: Any) -> httpbody_pb2.HttpBody:
        if request.model == "bad":
            raise InvalidInput("ERROR_REASON_INVALID_REQUEST", "no", [Violation("x", "is bad")], model="bad")
        if request.model == "busy":
            raise TooMuch("ERROR_REASON_OVERLOADED", "no", 0.25)
        if request.model == "slow":
            self.entered.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.stopped.set()
        context.send_initial_metadata("x-model", request.model)
        said = f"{request.model}/{request.version} {request.body.content_type} {request.body.data.decode()}"
        return httpbody_pb2.HttpBody(content_type="text/plain", data=said.encode())


@pytest.fixture
def rest() -> Rest:
    return Rest()  # type: ignore[abstract]  # the other methods stay as generated


@pytest.fixture
async def client(rest: Rest, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    settings = ServiceSettings(
        address=f"unix:{tmp_path}/g.sock", http_address="127.0.0.1:0", max_message_bytes=1000, grace_seconds=0
    )
    async with (
        build(settings, [(add_PredictionHttpServiceServicer_to_server, rest)]) as server,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.http_port}") as client,
    ):
        yield client


async def test_a_rest_path_fills_the_request(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/models/a%20b/versions/7:predict?model=other", json={"x": 1})
    assert (answer.status_code, answer.text) == (200, 'a b/7 application/json {"x":1}')
    assert answer.headers["content-type"] == "text/plain" and answer.headers["x-model"] == "a b"


@pytest.mark.parametrize(("model", "status", "code"), [("bad", 400, 3), ("busy", 429, 8)])
async def test_an_error_is_its_status_as_json(client: httpx.AsyncClient, model: str, status: int, code: int) -> None:
    answer = await client.post(f"/v1/models/{model}:predict", content=b"{}")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["details"][0]["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"


@pytest.mark.parametrize(("verb", "path"), [("POST", "/v1/nothing"), ("GET", "/v1/models/m:predict")])
async def test_what_is_not_offered_is_said(client: httpx.AsyncClient, verb: str, path: str) -> None:
    answer = await client.request(verb, path)
    assert (answer.status_code, answer.json()["details"][0]["reason"]) == (501, "ERROR_REASON_NOT_OFFERED")


async def test_a_long_body_is_refused_with_its_size(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/models/m:predict", content=b" " * 1001)
    assert answer.json()["details"][0]["metadata"]["sizeBytes"] == "1001"


async def test_the_callers_time_ends_the_call(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/models/slow:predict", headers={"grpc-timeout": "20m"})
    assert (answer.status_code, answer.json()["code"]) == (504, 4)


async def test_a_client_that_leaves_stops_the_work(client: httpx.AsyncClient, rest: Rest) -> None:
    calling = asyncio.create_task(client.post("/v1/models/slow:predict"))
    await asyncio.wait_for(rest.entered.wait(), 5)
    calling.cancel()
    await asyncio.wait_for(rest.stopped.wait(), 5)


async def test_requests_in_one_packet_are_answered_in_turn(client: httpx.AsyncClient) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
    one = b"POST /v1/models/%b:predict HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx"
    writer.write(one % b"first" + one % b"second")
    said = await asyncio.wait_for(reader.readuntil(b"second/  x"), 5)
    assert said.index(b"first/  x") < said.index(b"second/  x")
    writer.close()


async def test_what_is_no_http_is_answered_and_closed(client: httpx.AsyncClient) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
    writer.write(b"\x16\x03\x01 no http\r\n\r\n")
    assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 400")
    writer.close()


async def test_a_kept_connection_that_was_lost_is_replaced(tmp_path: Path, rest: Rest) -> None:
    settings = ServiceSettings(
        address=f"unix:{tmp_path}/g.sock", http_address=f"unix:{tmp_path}/h.sock", grace_seconds=0
    )
    service = [(add_PredictionHttpServiceServicer_to_server, rest)]
    coding = (pb.PredictHttpRequest.SerializeToString, httpbody_pb2.HttpBody.FromString)
    path = "/predmesh.prediction.v1.PredictionHttpService/PredictHttp"
    async with connect(f"http+unix:{tmp_path}/h.sock", safe_to_retry=[path[1:]]) as channel:
        ask = channel.unary_unary(path, *coding)
        for _ in range(2):
            async with build(settings, service):
                assert (await ask(pb.PredictHttpRequest(model="m"), timeout=5)).data == b"m/  "
