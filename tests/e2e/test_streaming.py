"""Streams of predictions through the whole mesh: REST as lines and as events, and a model's own service over gRPC."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from predmesh_testing.running import FLIGHT, RunningMesh
from websockets.sync.client import connect
from websockets.typing import Origin

STREAM = "/v1/models/flight-delay:streamPredict"
LINES = {"content-type": "application/x-ndjson"}


@pytest.fixture
def rest(flights_mesh: RunningMesh) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{flights_mesh.address}", timeout=60) as client:
        yield client


@pytest.fixture
def probability(rest: httpx.Client) -> float:
    answer = rest.post("/v1/models/flight-delay:predict", json={"instances": [FLIGHT]})
    return float(answer.json()["predictions"][0]["late_probability"])


def outcome(document: dict[str, Any]) -> Any:
    """The probability, or the reason why there is none."""
    if "error" in document:
        return document["error"]["reason"]
    (prediction,) = document["response"]["predictions"]
    return prediction["late_probability"]


def test_a_thousand_rows_are_answered_in_order_and_a_bad_one_in_its_place(rest: httpx.Client, probability: float):
    rows = [FLIGHT] * 500 + [FLIGHT | {"carrier": "UAA"}] + [FLIGHT] * 499
    answer = rest.post(STREAM, json={"instances": rows})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
    documents = [json.loads(line) for line in answer.text.splitlines()]
    assert [each["index"] for each in documents] == list(range(1000))
    expected = [probability] * 500 + ["ERROR_REASON_INVALID_REQUEST"] + [probability] * 499
    assert [outcome(each) for each in documents] == expected
    assert "instances[500].carrier" in documents[500]["error"]["message"]


def test_lines_are_answered_by_lines(rest: httpx.Client, probability: float):
    body = b"\n".join([json.dumps(FLIGHT).encode(), b"{", json.dumps(FLIGHT).encode()])
    answer = rest.post(STREAM, content=body, headers=LINES)
    documents = [json.loads(line) for line in answer.text.splitlines()]
    assert [outcome(each) for each in documents] == [probability, "ERROR_REASON_MALFORMED_BODY", probability]


def test_events_are_named_numbered_and_ended(rest: httpx.Client):
    body = {"instances": [FLIGHT, {}]}
    answer = rest.post(STREAM, json=body, headers={"accept": "text/event-stream"})
    assert answer.headers["content-type"] == "text/event-stream"
    heads = [event.split("\ndata:")[0] for event in answer.text.split("\n\n") if event]
    assert heads == ["event: prediction\nid: 0", "event: error\nid: 1", "event: end"]


def test_a_typed_stream_gives_typed_answers(rest: httpx.Client, probability: float):
    answer = rest.post("/v1/models/flight-delay/versions/1/typed:streamPredict", json={"instances": [FLIGHT]})
    (document,) = map(json.loads, answer.text.splitlines())
    assert document["response"]["prediction"]["late_probability"] == probability


@pytest.mark.parametrize(
    ("path", "body", "status", "reason"),
    [
        (STREAM, b"{", 400, "ERROR_REASON_MALFORMED_BODY"),
        (STREAM, b'{"instances": []}', 400, "ERROR_REASON_INVALID_REQUEST"),
        ("/v1/models/flight-dela:streamPredict", b"{}", 404, "ERROR_REASON_MODEL_UNKNOWN"),
        ("/v1/models/flight-delay/versions/9:streamPredict", b"{}", 404, "ERROR_REASON_VERSION_UNKNOWN"),
    ],
)
def test_what_is_wrong_with_the_whole_is_a_plain_error(
    rest: httpx.Client, path: str, body: bytes, status: int, reason: str
):
    answer = rest.post(path, content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert reason in [detail.get("reason") for detail in answer.json()["details"]]


def test_a_reader_that_takes_its_time_gets_all_and_holds_up_nobody(rest: httpx.Client, flights_mesh: RunningMesh):
    with rest.stream("POST", STREAM, json={"instances": [FLIGHT] * 3000}) as answer:
        lines = answer.iter_lines()
        first = json.loads(next(lines))["index"]
        assert flights_mesh.post("/v1/models/flight-delay:predict", {"instances": [FLIGHT]}).status_code == 200
        assert [first, *(json.loads(line)["index"] for line in lines)] == list(range(3000))


def test_a_websocket_answers_a_thousand_rows_in_order_and_a_bad_one_in_its_place(
    flights_mesh: RunningMesh, probability: float
):
    rows = [FLIGHT] * 500 + [FLIGHT | {"carrier": "UAA"}] + [FLIGHT] * 499
    origin = f"http://{flights_mesh.address}"
    with connect(f"ws://{flights_mesh.address}{STREAM}", origin=Origin(origin), proxy=None) as socket:

        def send() -> None:
            for row in rows:
                socket.send(json.dumps(row))

        sending = threading.Thread(target=send)
        sending.start()
        documents = [json.loads(socket.recv(20)) for _ in rows]
        sending.join()
    assert [each["index"] for each in documents] == list(range(1000))
    expected = [probability] * 500 + ["ERROR_REASON_INVALID_REQUEST"] + [probability] * 499
    assert [outcome(each) for each in documents] == expected
    assert "instance.carrier" in documents[500]["error"]["message"]


def test_a_models_own_stream_goes_both_ways_over_grpc(
    rest: httpx.Client, flights_mesh: RunningMesh, probability: float
):
    files = descriptor_pb2.FileDescriptorSet.FromString(
        rest.get("/v1/models/flight-delay/versions/1/contract/contract.binpb").content
    )
    pool: Any = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.AddSerializedFile(file.SerializeToString())
    package = files.file[-1].package
    ask, told = (
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.StreamPredict{end}"))
        for end in ("Request", "Response")
    )
    requests = [json_format.ParseDict({"instance": row}, ask()) for row in (FLIGHT, {}, FLIGHT)]
    with grpc.insecure_channel(flights_mesh.address) as channel:
        stream: Any = channel.stream_stream(
            f"/{package}.FlightDelayService/StreamPredict", ask.SerializeToString, told.FromString
        )
        answers = list(stream(iter(requests), timeout=20))
    assert [answer.WhichOneof("outcome") for answer in answers] == ["response", "error", "response"]
    assert answers[2].response.prediction.late_probability == probability
    assert answers[1].error.reason == "ERROR_REASON_INVALID_REQUEST"
