"""Streams over REST: a line or an event a row, in order, errors in-band, a bounded number of rows under way."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import grpc
import httpx
import orjson
import pytest
from google.api import httpbody_pb2
from predmesh.prediction.v1 import prediction_http_service_pb2 as pb
from predmesh_prediction.http_servicer import PredictionHttpServicer

from tests.unit.prediction.prediction_fakes import FLIGHT, FLIGHTS, Mesh, open_mesh
from tests.unit.prediction.test_prediction_rest import ID, post, told, without_timings

LINES, EVENTS = "application/x-ndjson", "text/event-stream"
WRONG = FLIGHT | {"carrier": "AAA"}


def asked(document: Any, kind: str = "application/json", model: str = "flight-delay") -> pb.StreamPredictHttpRequest:
    data = document if isinstance(document, bytes) else orjson.dumps(document)
    return pb.StreamPredictHttpRequest(model=model, body=httpbody_pb2.HttpBody(content_type=kind, data=data))


async def stream(mesh: Mesh, document: Any, kind: str = "application/json", accept: str = "") -> list[Any]:
    call = mesh.http.StreamPredictHttp(asked(document, kind), metadata=(*ID, ("accept", accept)))
    return [part async for part in call]


async def lines(mesh: Mesh, document: Any, kind: str = "application/json") -> list[dict[str, Any]]:
    parts = await stream(mesh, document, kind)
    assert {part.content_type for part in parts} == {LINES}
    assert all(part.data.count(b"\n") == 1 and part.data.endswith(b"\n") for part in parts)
    return [orjson.loads(part.data) for part in parts]


async def test_each_row_is_answered_as_if_it_came_alone(mesh: Mesh) -> None:
    first, second = await lines(mesh, {"instances": [FLIGHT, FLIGHT | {"origin": "LGA"}]})
    alone = await post(mesh, {"instances": [FLIGHT | {"origin": "LGA"}]})
    assert (first["index"], second["index"]) == (0, 1)
    assert without_timings(second["response"]) == without_timings(alone) | {
        "requestId": "r-1-1",
        "predictionIds": ["r-1-1-0"],
    }


async def test_a_bad_row_is_answered_in_its_place_and_the_rest_goes_on(mesh: Mesh) -> None:
    good, bad, none, last = await lines(mesh, {"instances": [FLIGHT, WRONG, 7, FLIGHT]})
    assert "response" in good and "response" in last
    assert bad["error"] == {
        "code": grpc.StatusCode.INVALID_ARGUMENT.value[0],
        "message": """instances[1].carrier: must be one of "AA", "DL", "UA" (got "AAA"); did you mean 'AA'?""",
        "reason": "ERROR_REASON_INVALID_REQUEST",
    }
    assert none["error"]["message"].startswith("instances[2]: must be an object")


async def test_trouble_of_a_stage_is_answered_row_by_row(mesh: Mesh) -> None:
    mesh.inference.failing = "down"
    answers = await lines(mesh, {"instances": [FLIGHT] * 3})
    assert [each["error"]["reason"] for each in answers] == ["ERROR_REASON_MODEL_SERVER_DOWN"] * 3


async def test_rows_may_come_as_lines_of_which_a_broken_one_is_told_where_it_stands(mesh: Mesh) -> None:
    row = orjson.dumps(FLIGHT)
    twice = b'{"carrier": "AA", "carrier": "DL"}'
    body = b"\r\n".join([row, b"", b"{oops", twice, b"\xff", row, b""])
    good, broken, doubled, binary, last = await lines(mesh, body, f"{LINES}; charset=utf-8")
    assert "response" in good and "response" in last
    assert broken["error"]["reason"] == "ERROR_REASON_MALFORMED_BODY"
    assert "line 3, column 2" in broken["error"]["message"]
    assert doubled["error"]["message"].startswith("instances[2].carrier: is there twice")
    assert "line 5" in binary["error"]["message"]


async def test_who_accepts_events_gets_events_and_an_end(mesh: Mesh) -> None:
    parts = await stream(mesh, {"instances": [FLIGHT, WRONG]}, accept="application/json;q=0.5, Text/Event-Stream")
    assert {part.content_type for part in parts} == {EVENTS}
    first, second, end = [part.data.decode().split("\n") for part in parts]
    assert first[:2] == ["event: prediction", "id: 0"]
    assert second[:2] == ["event: error", "id: 1"]
    assert "predictions" in orjson.loads(first[2].removeprefix("data: "))["response"]
    assert end[:2] == ["event: end", 'data: {"rows":2}']
    assert all(event[-2:] == ["", ""] for event in (first, second, end))


async def test_typed_streams_give_the_typed_answers(mesh: Mesh) -> None:
    body = httpbody_pb2.HttpBody(data=orjson.dumps({"instances": [FLIGHT, WRONG]}))
    request = pb.StreamPredictTypedHttpRequest(model="flight-delay", version="1", body=body)
    good, bad = [orjson.loads(part.data) async for part in mesh.http.StreamPredictTypedHttp(request, metadata=ID)]
    assert good["response"].keys() == {"prediction", "predictionId", "provenance"}
    assert good["response"]["predictionId"] == "r-1-0-0"
    assert bad["error"]["message"].startswith("instances[1].carrier: ")


WHOLE = [
    pytest.param(b"[", "", grpc.StatusCode.INVALID_ARGUMENT, "the body is no JSON", id="no json"),
    pytest.param({}, "", grpc.StatusCode.INVALID_ARGUMENT, "instances: is empty", id="no rows"),
    pytest.param(b"\n \n", LINES, grpc.StatusCode.INVALID_ARGUMENT, "instances: is empty", id="no lines"),
    pytest.param({"instances": {}}, "", grpc.StatusCode.INVALID_ARGUMENT, "must be an array", id="no array"),
    pytest.param({"instances": [1] * 10_001}, "", grpc.StatusCode.INVALID_ARGUMENT, "10001 rows", id="too many"),
    pytest.param(b"1\n" * 10_001, LINES, grpc.StatusCode.INVALID_ARGUMENT, "10001 rows", id="too many lines"),
    pytest.param(b"1" * (4 << 20) + b"1", LINES, grpc.StatusCode.INVALID_ARGUMENT, "bytes", id="too long"),
    pytest.param({"columns": {}}, "", grpc.StatusCode.INVALID_ARGUMENT, "there are instances", id="columns"),
    pytest.param(b"", "text/csv", grpc.StatusCode.INVALID_ARGUMENT, LINES, id="no type of ours"),
]


@pytest.mark.parametrize(("document", "kind", "code", "words"), WHOLE)
async def test_what_is_wrong_with_the_whole_fails_the_call(
    mesh: Mesh, document: Any, kind: str, code: grpc.StatusCode, words: str
) -> None:
    found, (message, *_) = await told(anext(aiter(mesh.http.StreamPredictHttp(asked(document, kind)))))
    assert found is code
    assert words in message


async def test_an_unknown_model_fails_the_call(mesh: Mesh) -> None:
    code, (_, info) = await told(anext(aiter(mesh.http.StreamPredictHttp(asked(b"[", model="digit")))))
    assert (code, info["metadata"]["nearest"]) == (grpc.StatusCode.NOT_FOUND, "digits")


def of_one_body(servicer: PredictionHttpServicer) -> AsyncGenerator[Any, None]:
    return servicer.StreamPredictHttp(asked({"instances": [FLIGHT] * 100}), None)


def of_messages(servicer: PredictionHttpServicer) -> AsyncGenerator[Any, None]:
    async def rows() -> AsyncIterator[pb.StreamPredictMessagesRequest]:
        for _ in range(100):
            body = httpbody_pb2.HttpBody(data=orjson.dumps(FLIGHT))
            yield pb.StreamPredictMessagesRequest(model="flight-delay", body=body)

    return servicer.StreamPredictMessages(rows(), None)


@pytest.mark.parametrize("stream", [of_one_body, of_messages])
async def test_rows_whose_answers_nobody_takes_are_not_begun(tmp_path: Path, stream: Any) -> None:
    async with open_mesh(tmp_path, stream_window=4) as mesh:
        await mesh.deploy(FLIGHTS)
        (servicer,) = [each for _, each in mesh.service.servicers if isinstance(each, PredictionHttpServicer)]
        async with aclosing(stream(servicer)) as parts:
            for taken in (1, 2, 3):
                await anext(parts)
                # What was begun before it is in a batch when this is answered.
                await post(mesh, {"instances": [FLIGHT]})
                assert sum(mesh.inference.batches) - taken == 3 + taken


async def test_a_client_that_leaves_stops_the_work(mesh: Mesh) -> None:
    mesh.inference.gate = asyncio.Event()
    call = mesh.http.StreamPredictHttp(asked({"instances": [FLIGHT] * 100}))
    await mesh.inference.entered.wait()
    call.cancel()
    await mesh.inference.cancelled.wait()


async def test_the_front_of_unary_calls_offers_no_stream(front: httpx.AsyncClient) -> None:
    answer = await front.post("/v1/models/flight-delay:streamPredict", json={"instances": [FLIGHT]})
    assert answer.json()["details"][0]["reason"] == "ERROR_REASON_PATH_UNKNOWN"
