"""Bad input: the same code, reason, fields and words over REST and gRPC, and never a 500."""

import json
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import json_format
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh.prediction.v1.prediction_service_pb2_grpc import PredictionServiceStub
from predmesh_testing.running import FLIGHT, RunningMesh

DETAILS = (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RequestInfo)
"""Imported, so that details are known by name when a status is turned into JSON."""


@dataclass(frozen=True)
class Case:
    name: str
    instances: list[Any]
    field: str
    says: str
    """Words that must stand in the violation: the rule, or the nearest right answer."""


def changed(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in (FLIGHT | values).items() if value is not ...}


CASES = [
    Case("unknown field", [changed(tail_num="N1")], "instances[0].tail_num", "tailnum"),
    Case("wrong type", [changed(carrier=7)], "instances[0].carrier", "string"),
    Case("text for a number", [changed(distance_miles="far")], "instances[0].distance_miles", "number"),
    Case("out of range", [changed(distance_miles=-1.0)], "instances[0].distance_miles", "-1"),
    Case("missing required", [changed(origin=...)], "instances[0].origin", "required"),
    Case("null required", [changed(origin=None)], "instances[0].origin", "required"),
    Case("unknown category", [changed(origin="EWQ")], "instances[0].origin", "EWR"),
    Case("not a time", [changed(scheduled_departure="tomorrow")], "instances[0].scheduled_departure", "RFC 3339"),
    Case(
        "time without zone",
        [changed(scheduled_departure="2013-12-31T18:30:00")],
        "instances[0].scheduled_departure",
        "RFC 3339",
    ),
    Case("second row", [FLIGHT, changed(carrier=True)], "instances[1].carrier", "string"),
    Case("empty batch", [], "instances", "1"),
    Case("too many rows", [FLIGHT] * 10_001, "instances", "10000"),
]


def over_rest(mesh: RunningMesh, instances: list[Any]) -> tuple[int, dict[str, Any]]:
    answer = mesh.post("/v1/models/flight-delay:predict", {"instances": instances})
    return answer.status_code, answer.json()


def over_grpc(mesh: RunningMesh, instances: list[Any]) -> dict[str, Any]:
    request = pb.PredictRequest(model="flight-delay")
    for instance in instances:
        request.instances.add().update(instance)
    with grpc.insecure_channel(mesh.address) as channel, pytest.raises(grpc.RpcError) as caught:
        PredictionServiceStub(channel).Predict(request, timeout=20)
    status = rpc_status.from_call(caught.value)
    assert status is not None
    return dict(json_format.MessageToDict(status))


def detail(document: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(item for item in document["details"] if item["@type"].endswith(kind))


def without_request_id(document: dict[str, Any]) -> dict[str, Any]:
    return document | {"details": [item for item in document["details"] if not item["@type"].endswith("RequestInfo")]}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_bad_row_is_named_with_the_rule_it_breaks(flights_mesh: RunningMesh, case: Case) -> None:
    status, document = over_rest(flights_mesh, case.instances)
    violation = detail(document, "BadRequest")["fieldViolations"][0]
    assert (status, document["code"], violation["field"]) == (400, 3, case.field)
    assert case.says in violation["description"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_grpc_answers_a_bad_row_as_rest_does(flights_mesh: RunningMesh, case: Case) -> None:
    _, rest = over_rest(flights_mesh, case.instances)
    assert without_request_id(over_grpc(flights_mesh, case.instances)) == without_request_id(rest)


def test_every_violation_is_listed(flights_mesh: RunningMesh) -> None:
    _, document = over_rest(flights_mesh, [changed(carrier=1, origin="XXX", distance_miles=-5.0, extra=1)])
    fields = {violation["field"] for violation in detail(document, "BadRequest")["fieldViolations"]}
    assert fields == {f"instances[0].{name}" for name in ("carrier", "origin", "distance_miles", "extra")}


BODIES = [
    pytest.param(b'{"instances": [', "ERROR_REASON_MALFORMED_BODY", id="broken JSON"),
    pytest.param(b"", "ERROR_REASON_MALFORMED_BODY", id="no body"),
    pytest.param(b"[]", "ERROR_REASON_INVALID_REQUEST", id="not an object"),
    pytest.param(b'{"instances": 7}', "ERROR_REASON_INVALID_REQUEST", id="instances not a list"),
    pytest.param(b'{"instances": [7]}', "ERROR_REASON_INVALID_REQUEST", id="row not an object"),
    pytest.param(b'{"instance": []}', "ERROR_REASON_INVALID_REQUEST", id="unknown top-level key"),
    pytest.param(b'{"instances": [{"distance_miles": NaN}]}', "ERROR_REASON_MALFORMED_BODY", id="NaN"),
    pytest.param(b'{"instances": [{"carrier": "\xff"}]}', "ERROR_REASON_MALFORMED_BODY", id="not UTF-8"),
    pytest.param(b"[" * 100_000, "ERROR_REASON_MALFORMED_BODY", id="deep"),
]


@pytest.mark.parametrize(("body", "reason"), BODIES)
def test_a_broken_body_is_the_callers_mistake(flights_mesh: RunningMesh, body: bytes, reason: str) -> None:
    answer = flights_mesh.post("/v1/models/flight-delay:predict", body)
    assert answer.status_code == 400
    assert detail(answer.json(), "ErrorInfo")["reason"] == reason


NAMES = [
    pytest.param("/v1/models/flight-dela:predict", "ERROR_REASON_MODEL_UNKNOWN", "flight-delay", id="model"),
    pytest.param("/v1/models/flight-delay/versions/7:predict", "ERROR_REASON_VERSION_UNKNOWN", "1", id="version"),
]


@pytest.mark.parametrize(("path", "reason", "offered"), NAMES)
def test_an_unknown_name_is_404_with_what_is_live(
    flights_mesh: RunningMesh, path: str, reason: str, offered: str
) -> None:
    answer = flights_mesh.post(path, {"instances": [FLIGHT]})
    info = detail(answer.json(), "ErrorInfo")
    assert (answer.status_code, info["reason"]) == (404, reason)
    assert offered in json.dumps(info["metadata"])


def test_another_content_type_is_refused(flights_mesh: RunningMesh) -> None:
    url = f"http://{flights_mesh.address}/v1/models/flight-delay:predict"
    answer = httpx.post(url, content=b"a=b", headers={"content-type": "application/x-www-form-urlencoded"})
    assert answer.status_code == 400
    assert detail(answer.json(), "ErrorInfo")["reason"] == "ERROR_REASON_CONTENT_TYPE"


def test_a_body_over_four_mebibytes_is_413(flights_mesh: RunningMesh) -> None:
    answer = flights_mesh.post("/v1/models/flight-delay:predict", b" " * (5 << 20))
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/json")
    assert detail(answer.json(), "ErrorInfo")["reason"] == "ERROR_REASON_GATEWAY"


def test_an_unknown_path_is_a_json_document(flights_mesh: RunningMesh) -> None:
    answer = flights_mesh.post("/v3/nothing", {})
    assert answer.status_code == 404
    assert detail(answer.json(), "ErrorInfo")["reason"] == "ERROR_REASON_GATEWAY"
