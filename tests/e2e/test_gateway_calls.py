"""Every way of calling, through a real Envoy to a real server on a unix socket."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import json_format, struct_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status
from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh.prediction.v1.prediction_service_pb2_grpc import PredictionServiceStub
from predmesh_testing.envoy import Gateway, running_echo, running_gateway, settings_over
from tritonclient.grpc import service_pb2, service_pb2_grpc

ORIGIN = "https://app.example"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gw")
    settings = settings_over(folder / "p.sock", request_timeout_seconds=2.0, cors_origins=(ORIGIN,))
    with running_echo(folder / "p.sock"), running_gateway(settings, folder) as found:
        yield found


@pytest.fixture(scope="module")
def rest(gateway: Gateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, timeout=10) as client:
        yield client


@pytest.fixture(scope="module")
def channel(gateway: Gateway) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(gateway.address) as found:
        yield found


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> PredictionServiceStub:
    return PredictionServiceStub(channel)


def told(answer: httpx.Response) -> dict[str, Any]:
    """What reached prediction in a GET of a model."""
    assert answer.status_code == 200, answer.text
    return dict(json.loads(answer.json()["model"]["description"]))


def test_rest_and_grpc_give_the_same_answer(rest: httpx.Client, stub: PredictionServiceStub):
    over_rest = rest.get("/v1/models/abc/versions/3").json()["model"]
    over_grpc = stub.GetModel(pb.GetModelRequest(model="abc", version="3")).model
    assert (over_rest["name"], over_rest["version"]) == (over_grpc.name, over_grpc.version) == ("abc", "3")


def test_json_is_canonical_with_camel_case_and_wide_numbers_as_text(rest: httpx.Client, stub: PredictionServiceStub):
    listed = stub.ListModels(pb.ListModelsRequest(), timeout=5)
    answer = rest.get("/v1/models").json()
    assert answer == json_format.MessageToDict(listed) == {"generation": str(2**53 + 1)}
    assert rest.get("/v1/models/abc").json()["model"]["bundleId"] == "echo"


def test_a_name_in_the_path_is_decoded(rest: httpx.Client):
    assert rest.get("/v1/models/caf%C3%A9%20x").json()["model"]["name"] == "café x"


@pytest.mark.parametrize("query", ["model=evil", "version=9", "model=evil&version=9"])
def test_a_query_parameter_does_not_override_the_path(rest: httpx.Client, query: str):
    model = rest.get(f"/v1/models/abc?{query}").json()["model"]
    assert (model["name"], model.get("version", "")) == ("abc", "")


def test_a_body_arrives_byte_for_byte(rest: httpx.Client):
    body = b'{"instances": [{"unknown": NaN}], broken'
    answer = rest.post("/v1/models/abc:predict", content=body, headers={"content-type": "application/json"}).json()
    assert (answer["model"], answer["version"]) == ("abc", "")
    assert (answer["sha256"], answer["contentType"]) == (hashlib.sha256(body).hexdigest(), "application/json")


def test_a_query_parameter_does_not_replace_the_body(rest: httpx.Client):
    answer = rest.post("/v1/models/abc:predict?body.data=eHg%3D&body.content_type=x", content=b"12345")
    assert answer.status_code == 400 or answer.json()["bytes"] == 5


def test_an_unknown_query_parameter_of_a_posted_call_is_named(rest: httpx.Client):
    answer = rest.post("/v1/models/abc:predict?colour=red&version=9", json={})
    assert (answer.status_code, answer.json()["code"]) == (400, 3)
    assert "colour" in answer.text and "version" not in answer.text


def test_a_version_in_the_path_arrives(rest: httpx.Client):
    assert rest.post("/v1/models/abc/versions/2:predict", json={}).json()["version"] == "2"


def test_the_binary_form_of_v2_keeps_its_header_both_ways(rest: httpx.Client):
    headers = {"inference-header-content-length": "7", "content-type": "application/octet-stream"}
    answer = rest.post("/v2/models/abc/infer", content=b"{json..}\0\1\2\xff", headers=headers)
    assert answer.headers["inference-header-content-length"] == "7"
    assert answer.json()["metadata"]["inference-header-content-length"] == "7"
    assert answer.json()["contentType"] == "application/octet-stream"


def test_the_home_page_is_html(rest: httpx.Client):
    answer = rest.get("/")
    assert (answer.headers["content-type"], answer.text) == ("text/html; charset=utf-8", "<h1>Predmesh</h1>")


def test_a_body_of_exactly_the_limit_is_taken(rest: httpx.Client):
    answer = rest.post("/v1/models/abc:predict", content=b"x" * (4 * MIB))
    assert (answer.status_code, answer.json().get("bytes")) == (200, 4 * MIB)


def test_a_large_grpc_message_passes(stub: PredictionServiceStub):
    row = struct_pb2.Struct()
    row.update({"text": "x" * (3 * MIB)})
    answer = stub.Predict(pb.PredictRequest(model="abc", instances=[row]), timeout=10)
    assert len(answer.predictions) == 1


def test_a_stream_answers_one_by_one(stub: PredictionServiceStub):
    requests = (pb.StreamPredictRequest(request=pb.PredictRequest(model=name)) for name in "abc")
    answers = list(stub.StreamPredict(requests, timeout=10))
    assert [(answer.index, answer.response.model) for answer in answers] == [(0, "a"), (1, "b"), (2, "c")]


def test_open_inference_passes_through(channel: grpc.Channel):
    stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
    assert stub.ServerLive(service_pb2.ServerLiveRequest(), timeout=5).live


def test_reflection_passes_through(channel: grpc.Channel):
    services = ProtoReflectionDescriptorDatabase(channel).get_services()
    assert {"predmesh.prediction.v1.PredictionService", "inference.GRPCInferenceService"} <= set(services)


def test_health_passes_through_over_grpc(channel: grpc.Channel):
    answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_the_gateway_is_healthy_with_its_prediction(rest: httpx.Client):
    answer = rest.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "SERVING"})


def framed(message: Message) -> bytes:
    data = message.SerializeToString()
    return b"\0" + len(data).to_bytes(4, "big") + data


def web_call(
    rest: httpx.Client, method: str, message: Message, kind: str = "grpc-web+proto"
) -> tuple[list[bytes], str]:
    """Messages and trailers of a gRPC-Web call."""
    text = kind.startswith("grpc-web-text")
    answer = rest.post(
        f"/predmesh.prediction.v1.PredictionService/{method}",
        content=base64.b64encode(framed(message)) if text else framed(message),
        headers={"content-type": f"application/{kind}", "accept": f"application/{kind}", "x-grpc-web": "1"},
    )
    assert answer.headers["content-type"].startswith(f"application/{kind}")
    # Each chunk of the text form is padded on its own.
    chunks = re.findall(rb"[^=]+=*", answer.content) if text else []
    rest_of = b"".join(map(base64.b64decode, chunks)) if text else answer.content
    messages = []
    while rest_of and not rest_of[0] & 0x80:
        length = int.from_bytes(rest_of[1:5], "big")
        messages.append(rest_of[5 : 5 + length])
        rest_of = rest_of[5 + length :]
    return messages, rest_of[5:].decode() or f"grpc-status:{answer.headers['grpc-status']}"


@pytest.mark.parametrize("kind", ["grpc-web+proto", "grpc-web", "grpc-web-text+proto"])
def test_grpc_web_answers_with_its_trailers_in_the_body(rest: httpx.Client, kind: str):
    messages, trailers = web_call(rest, "GetModel", pb.GetModelRequest(model="web"), kind)
    assert [pb.GetModelResponse.FromString(each).model.name for each in messages] == ["web"]
    assert "grpc-status:0" in trailers


def test_grpc_web_hears_an_error(rest: httpx.Client):
    messages, trailers = web_call(rest, "GetModel", pb.GetModelRequest(model="missing"))
    assert (messages, trailers) == ([], "grpc-status:5")


def test_grpc_web_takes_a_stream(rest: httpx.Client):
    request = pb.StreamPredictRequest(request=pb.PredictRequest(model="a"))
    messages, trailers = web_call(rest, "StreamPredict", request)
    assert [pb.StreamPredictResponse.FromString(each).response.model for each in messages] == ["a"]
    assert "grpc-status:0" in trailers


def test_a_page_of_a_known_origin_may_ask(rest: httpx.Client):
    headers = {"origin": ORIGIN, "access-control-request-method": "POST"}
    answer = rest.options("/v1/models/abc:predict", headers=headers)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, ORIGIN)


def test_a_page_of_another_origin_may_not(rest: httpx.Client):
    headers = {"origin": "https://other.example", "access-control-request-method": "POST"}
    answer = rest.options("/v1/models/abc:predict", headers=headers)
    assert answer.status_code == 405
    assert "access-control-allow-origin" not in answer.headers


def test_the_answer_is_readable_by_a_page_of_a_known_origin(rest: httpx.Client):
    answer = rest.get("/v1/models", headers={"origin": ORIGIN})
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "x-request-id" in answer.headers["access-control-expose-headers"]


TRUSTED = [
    "x-request-id",
    "x-envoy-original-path",
    "x-envoy-max-retries",
    "x-forwarded-for",
    "x-predmesh-scopes",
    "X-Predmesh-Scopes",
]


@pytest.mark.parametrize("header", TRUSTED)
def test_what_only_the_gateway_may_say_is_dropped_from_a_client(rest: httpx.Client, header: str):
    metadata = told(rest.get("/v1/models/abc", headers={header: "99"}))["metadata"]
    assert metadata.get(header.lower()) != "99"


@pytest.mark.parametrize("path", ["/v1/models/abc:predict", "/v2/models/abc/infer"])
def test_scopes_of_a_client_are_dropped_where_nothing_is_transcoded(rest: httpx.Client, path: str):
    metadata = rest.post(path, json={}, headers={"x-predmesh-scopes": "admin"}).json()["metadata"]
    assert "x-predmesh-scopes" not in metadata


def test_scopes_of_a_grpc_client_are_dropped(stub: PredictionServiceStub):
    call = (("x-predmesh-scopes", "admin"),)
    answer = stub.GetModel(pb.GetModelRequest(model="abc"), metadata=call, timeout=5)
    assert "x-predmesh-scopes" not in json.loads(answer.model.description)["metadata"]


def test_the_answer_names_the_request_id_that_prediction_saw(rest: httpx.Client):
    answer = rest.get("/v1/models/abc", headers={"x-request-id": "mine"})
    assert answer.headers.get_list("x-request-id") == [told(answer)["metadata"]["x-request-id"]]


def test_the_trace_of_the_caller_goes_on(rest: httpx.Client):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    metadata = told(rest.get("/v1/models/abc", headers={"traceparent": trace}))["metadata"]
    assert metadata["traceparent"] == trace


def test_prediction_knows_the_time_that_is_left(rest: httpx.Client, stub: PredictionServiceStub):
    assert 1.5 < told(rest.get("/v1/models/abc"))["seconds"] <= 2.1
    assert 0.2 < told(rest.get("/v1/models/abc", headers={"grpc-timeout": "700m"}))["seconds"] <= 0.8
    answer = stub.GetModel(pb.GetModelRequest(model="abc"), timeout=1.0)
    assert 0.5 < json.loads(answer.model.description)["seconds"] <= 1.1


def test_nothing_is_said_about_the_servers_make(rest: httpx.Client):
    headers = rest.get("/v1/models").headers
    assert "server" not in headers
    assert not [name for name in headers if name.startswith("x-envoy")]


def test_an_unavailable_answer_is_tried_again_under_the_same_request_id(rest: httpx.Client):
    answer = rest.get("/v1/models/flaky")
    seen = told(answer)
    assert seen["attempts"] == 2
    assert seen["metadata"]["x-request-id"] == answer.headers["x-request-id"]


def test_a_body_is_sent_again_with_the_retry(rest: httpx.Client):
    answer = rest.post("/v1/models/flaky:predict", content=b"y" * (2 * MIB)).json()
    assert (answer["attempts"], answer["bytes"]) == (2, 2 * MIB)


def test_grpc_calls_are_tried_again_too(stub: PredictionServiceStub):
    answer = stub.GetModel(pb.GetModelRequest(model="flaky"), timeout=5)
    assert json.loads(answer.model.description)["attempts"] == 2


CODES = [
    (1, 499),
    (2, 500),
    (3, 400),
    (4, 504),
    (5, 404),
    (6, 409),
    (7, 403),
    (8, 429),
    (9, 400),
    (10, 409),
    (11, 400),
    (12, 501),
    (13, 500),
    (14, 503),
    (15, 500),
    (16, 401),
]


@pytest.mark.parametrize(("code", "status"), CODES)
def test_each_grpc_code_has_its_http_status(rest: httpx.Client, code: int, status: int):
    answer = rest.get(f"/v1/models/code-{code}")
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_services_error_is_the_same_document_over_rest_and_grpc(rest: httpx.Client, stub: PredictionServiceStub):
    document = rest.post("/v1/models/bad:predict", json={}).json()
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(pb.PredictRequest(model="bad"), timeout=5)
    status = rpc_status.from_call(caught.value)
    assert (document["code"], document["message"]) == (status.code, status.message) == (3, "two things are wrong")
    details = {detail["@type"].rpartition(".")[2]: detail for detail in document["details"]}
    assert details["ErrorInfo"]["reason"] == "ERROR_REASON_INVALID_REQUEST"
    assert [each["field"] for each in details["BadRequest"]["fieldViolations"]] == ["instances[0].a", "instances[0].b"]
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.reason == details["ErrorInfo"]["reason"]


def test_each_request_is_one_line_of_the_access_log(gateway: Gateway, rest: httpx.Client):
    answer = rest.get("/v1/models/logged")
    lines = [json.loads(line) for line in gateway.access_log().splitlines()]
    (line,) = [line for line in lines if line.get("request_id") == answer.headers["x-request-id"]]
    assert line["path"] == "/v1/models/logged"
    assert line["grpc_path"] == "/predmesh.prediction.v1.PredictionService/GetModel"
    assert (line["method"], line["status"], line["grpc_status"], line["attempts"]) == ("GET", 200, "OK", 1)


def test_the_sockets_are_for_their_owner_alone(gateway: Gateway):
    path = Path(gateway.settings.admin_address.removeprefix("unix:"))
    assert path.stat().st_mode & 0o077 == 0
