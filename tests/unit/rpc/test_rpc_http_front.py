"""What servers do with requests that no gRPC client makes: REST paths, JSON errors, frames of messages."""

import asyncio
import base64
import gzip
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from google.api import httpbody_pb2
from google.rpc import error_details_pb2, status_pb2
from predmesh.prediction.v1 import prediction_http_service_pb2 as pb
from predmesh.prediction.v1.prediction_http_service_pb2_grpc import (
    PredictionHttpServiceServicer,
    add_PredictionHttpServiceServicer_to_server,
)
from predmesh_rpc import context
from predmesh_rpc.channels import connect
from predmesh_rpc.errors import InvalidInput, TooMuch, Violation
from predmesh_rpc.server import Server, build
from predmesh_rpc.settings import ServiceSettings


class Rest(PredictionHttpServiceServicer):
    def __init__(self) -> None:
        self.entered, self.stopped = asyncio.Event(), asyncio.Event()
        self.metadata: context.Metadata = ()

    async def PredictHttp(self, request: pb.PredictHttpRequest, context_: Any) -> httpbody_pb2.HttpBody:
        self.metadata = context_.invocation_metadata()
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


def http2(server: Server) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", http1=False, http2=True)


@pytest.fixture
def rest() -> Rest:
    return Rest()  # type: ignore[abstract]  # the other methods stay as generated


@pytest.fixture
async def client(rest: Rest) -> AsyncIterator[httpx.AsyncClient]:
    settings = ServiceSettings(address="127.0.0.1:0", max_message_bytes=1000, grace_seconds=0)
    async with (
        build(settings, [(add_PredictionHttpServiceServicer_to_server, rest)]) as server,
        http2(server) as client,
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
async def test_an_unknown_path_of_rest_is_not_found(client: httpx.AsyncClient, verb: str, path: str) -> None:
    answer = await client.request(verb, path)
    assert (answer.status_code, answer.json()["details"][0]["reason"]) == (404, "ERROR_REASON_PATH_UNKNOWN")


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


async def test_a_kept_connection_that_was_lost_is_replaced(tmp_path: Path, rest: Rest) -> None:
    settings = ServiceSettings(address=f"unix:{tmp_path}/g.sock", grace_seconds=0)
    service = [(add_PredictionHttpServiceServicer_to_server, rest)]
    coding = (pb.PredictHttpRequest.SerializeToString, httpbody_pb2.HttpBody.FromString)
    path = "/predmesh.prediction.v1.PredictionHttpService/PredictHttp"
    async with connect(f"h2+unix:{tmp_path}/g.sock", safe_to_retry=[path[1:]]) as channel:
        ask = channel.unary_unary(path, *coding)
        for _ in range(2):
            async with build(settings, service):
                assert (await ask(pb.PredictHttpRequest(model="m"), timeout=5)).data == b"m/  "


PREDICT = "/predmesh.prediction.v1.PredictionHttpService/PredictHttp"


def framed(message: bytes, flag: int = 0) -> bytes:
    return bytes([flag]) + len(message).to_bytes(4) + message


def asking(model: str, size: int = 0) -> bytes:
    body = httpbody_pb2.HttpBody(data=b" " * size)
    return pb.PredictHttpRequest(model=model, body=body).SerializeToString()


async def call(client: httpx.AsyncClient, content: bytes, path: str = PREDICT, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post(path, content=content, headers={"content-type": "application/grpc", **named})


def told(answer: httpx.Response) -> tuple[str, str]:
    """Code and reason of a failed gRPC call, which has no message and all in its headers."""
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "application/grpc", b"")
    status = status_pb2.Status.FromString(base64.b64decode(answer.headers["grpc-status-details-bin"]))
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert status.message == unquote(answer.headers["grpc-message"])
    return answer.headers["grpc-status"], info.reason


GZIPPED = framed(gzip.compress(asking("m")), 1)


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        pytest.param(GZIPPED, "gzip", id="gzip"),
        pytest.param(framed(zlib.compress(asking("m")), 1), "deflate", id="deflate"),
        pytest.param(framed(asking("m")), "gzip", id="not this one"),
        pytest.param(framed(asking("m")), "snappy", id="not this one either"),
    ],
)
async def test_a_compressed_message_is_inflated(client: httpx.AsyncClient, content: bytes, encoding: str) -> None:
    answer = await call(client, content, grpc_encoding=encoding)
    assert httpbody_pb2.HttpBody.FromString(answer.content[5:]).data == b"m/  "


@pytest.mark.parametrize(
    ("content", "encoding", "code", "reason"),
    [
        pytest.param(GZIPPED, "snappy", "12", "NOT_OFFERED", id="unknown encoding"),
        pytest.param(GZIPPED, "", "12", "NOT_OFFERED", id="no encoding"),
        pytest.param(framed(gzip.compress(asking("m", 2000)), 1), "gzip", "3", "TOO_LARGE", id="inflates to much"),
        pytest.param(framed(gzip.compress(asking("m"))[:-9], 1), "gzip", "3", "MALFORMED_BODY", id="cut off"),
        pytest.param(framed(b"no gzip", 1), "gzip", "3", "MALFORMED_BODY", id="not compressed"),
        pytest.param(framed(asking("m", 1001)), "", "3", "TOO_LARGE", id="long"),
        pytest.param(framed(asking("m")) * 2, "", "3", "MALFORMED_BODY", id="two messages"),
        pytest.param(framed(asking("m"))[:-1], "", "3", "MALFORMED_BODY", id="part of one"),
        pytest.param(b"", "", "3", "MALFORMED_BODY", id="none"),
        pytest.param(framed(b"\xff"), "", "3", "MALFORMED_BODY", id="no protobuf"),
    ],
)
async def test_a_message_that_cannot_be_taken_is_told(
    client: httpx.AsyncClient, content: bytes, encoding: str, code: str, reason: str
) -> None:
    assert told(await call(client, content, grpc_encoding=encoding)) == (code, f"ERROR_REASON_{reason}")


@pytest.mark.parametrize("path", ["/no.Service/Method", "/v1/models/m:predict", "/healthz"])
async def test_what_is_not_offered_is_said_as_grpc_does(client: httpx.AsyncClient, path: str) -> None:
    assert told(await call(client, framed(b""), path)) == ("12", "ERROR_REASON_NOT_OFFERED")


async def test_binary_and_repeated_metadata_arrive(client: httpx.AsyncClient, rest: Rest) -> None:
    sent = [("k-bin", "AAH/"), ("k-bin", "AA==,AQ"), ("a", "1"), ("a", "2"), ("content-type", "application/grpc")]
    await client.post(PREDICT, content=framed(asking("m")), headers=sent)
    found = [pair for pair in rest.metadata if pair[0] in ("a", "k-bin", "content-type")]
    assert found == [("k-bin", b"\0\1\xff"), ("k-bin", b"\0"), ("k-bin", b"\1"), ("a", "1"), ("a", "2")]


@pytest.mark.parametrize("given", ["²S", "x", "", "5", "-1S", "1.5S"])
async def test_a_time_that_is_none_is_the_default(client: httpx.AsyncClient, given: str) -> None:
    headers = {b"content-type": b"application/grpc", b"grpc-timeout": given.encode("latin-1")}
    answer = await client.post(PREDICT, content=framed(asking("m")), headers=headers)
    assert answer.content.startswith(b"\0")


async def test_an_unknown_query_parameter_is_named(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/models/m:predict?colour=red&model=x&body.data=eHg%3D", content=b"{}")
    document = answer.json()
    assert (answer.status_code, document["code"]) == (400, 3)
    named = [each["field"] for each in document["details"][-1]["fieldViolations"]]
    assert named == ["body.data", "colour"]
