"""What a good answer says: ids, version, timings, explanation; the same over REST, gRPC and gRPC-Web."""

import struct

import grpc
import httpx
import pytest
from google.protobuf import json_format
from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh.prediction.v1.prediction_service_pb2_grpc import PredictionServiceStub
from predmesh_testing.running import FLIGHT, RunningMesh

PREDICT = "/v1/models/flight-delay:predict"


def request(rows: int = 1) -> pb.PredictRequest:
    made = pb.PredictRequest(model="flight-delay")
    for _ in range(rows):
        made.instances.add().update(FLIGHT)
    return made


def test_rest_and_grpc_give_the_same_document(flights_mesh: RunningMesh) -> None:
    rest = flights_mesh.post(PREDICT, {"instances": [FLIGHT, FLIGHT]}).json()
    with grpc.insecure_channel(flights_mesh.address) as channel:
        answer = json_format.MessageToDict(PredictionServiceStub(channel).Predict(request(2), timeout=10))
    same = ("predictions", "model", "modelVersion", "bundleId")
    assert {key: rest[key] for key in same} == {key: answer[key] for key in same}
    assert set(rest) == set(answer) | {"degraded"} or set(rest) == set(answer)


def test_every_row_has_an_id_derived_from_the_request(flights_mesh: RunningMesh) -> None:
    answer = flights_mesh.post(PREDICT, {"instances": [FLIGHT] * 3})
    document = answer.json()
    assert len(set(document["predictionIds"])) == 3
    assert all(row.startswith(document["requestId"]) for row in document["predictionIds"])
    assert answer.headers["x-request-id"] == document["requestId"]


def test_timings_name_every_stage(flights_mesh: RunningMesh) -> None:
    timings = flights_mesh.post(PREDICT, {"instances": [FLIGHT]}).json()["timings"]
    assert {"features", "preprocessing", "inference"} <= {timing["stage"] for timing in timings}


def test_an_optional_input_may_be_left_out(flights_mesh: RunningMesh) -> None:
    row = {name: value for name, value in FLIGHT.items() if name != "tailnum"}
    assert flights_mesh.post(PREDICT, {"instances": [row]}).status_code == 200


def test_an_explanation_adds_up_to_the_answer(flights_mesh: RunningMesh) -> None:
    document = flights_mesh.post("/v1/models/flight-delay:explain", {"instances": [FLIGHT]}).json()
    probability = document["prediction"]["predictions"][0]["late_probability"]
    explanation = document["explanations"][0]
    margin = explanation["baseValue"] + sum(item["contribution"] for item in explanation["attributions"])
    assert document["space"] == "ATTRIBUTION_SPACE_LOGIT"
    assert 1 / (1 + 2.718281828459045**-margin) == pytest.approx(probability, abs=1e-4)


def test_a_version_can_be_named(flights_mesh: RunningMesh) -> None:
    answer = flights_mesh.post("/v1/models/flight-delay/versions/1:predict", {"instances": [FLIGHT]})
    assert answer.json()["modelVersion"] == "1"


def test_models_are_described(flights_mesh: RunningMesh) -> None:
    base = f"http://{flights_mesh.address}"
    listed = httpx.get(f"{base}/v1/models").json()["models"]
    model = httpx.get(f"{base}/v1/models/flight-delay").json()["model"]
    assert "flight-delay" in {item["name"] for item in listed}
    assert {item["name"] for item in model["inputs"]} == set(FLIGHT)


def test_the_home_page_has_calls_to_paste(flights_mesh: RunningMesh) -> None:
    page = httpx.get(f"http://{flights_mesh.address}/")
    assert page.headers["content-type"].startswith("text/html")
    assert f"http://{flights_mesh.address}/v1/models/flight-delay" in page.text


def test_a_path_cannot_be_overridden_by_the_query(flights_mesh: RunningMesh) -> None:
    answer = flights_mesh.post(f"{PREDICT}?model=other&version=9", {"instances": [FLIGHT]})
    assert (answer.status_code, answer.json().get("model")) == (200, "flight-delay")


def test_grpc_web_is_answered(flights_mesh: RunningMesh) -> None:
    message = request().SerializeToString()
    answer = httpx.post(
        f"http://{flights_mesh.address}/predmesh.prediction.v1.PredictionService/Predict",
        content=b"\0" + struct.pack(">I", len(message)) + message,
        headers={"content-type": "application/grpc-web+proto", "x-grpc-web": "1"},
    )
    length = struct.unpack(">I", answer.content[1:5])[0]
    assert pb.PredictResponse.FromString(answer.content[5 : 5 + length]).model == "flight-delay"


def test_a_stream_answers_in_order_and_goes_on_after_an_error(flights_mesh: RunningMesh) -> None:
    wrong = pb.PredictRequest(model="flight-dela")
    sent = [pb.StreamPredictRequest(request=item) for item in (request(), wrong, request())]
    with grpc.insecure_channel(flights_mesh.address) as channel:
        answers = list(PredictionServiceStub(channel).StreamPredict(iter(sent), timeout=10))
    assert [answer.WhichOneof("outcome") for answer in answers] == ["response", "error", "response"]
    assert [answer.index for answer in answers] == [0, 1, 2]
