"""Every REST answer of the Open Inference Protocol is what the public schema says it is."""

import json
from typing import Any

import httpx
import pytest
from jsonschema import ValidationError

from tests.unit.prediction import oip_oracle
from tests.unit.prediction.prediction_fakes import Mesh

IMAGE = {"name": "image", "datatype": "FP32", "shape": [1, 2, 2], "data": [0, 9, 1, 2]}
FLIGHT = {
    "inputs": [
        {"name": "carrier", "datatype": "BYTES", "shape": [1], "data": ["AA"]},
        {"name": "origin", "datatype": "BYTES", "shape": [1], "data": ["JFK"]},
        {"name": "dest", "datatype": "BYTES", "shape": [1, 1], "data": [["LAX"]]},
        {"name": "scheduled_departure", "datatype": "BYTES", "shape": [1], "data": ["2013-12-31T18:30:00Z"]},
        {"name": "distance_miles", "datatype": "FP64", "shape": [1], "data": [2475]},
    ]
}
X = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}
CALLS: list[tuple[str, str, Any, int]] = [
    ("GET", "/v2", None, 200),
    ("GET", "/v2/health/live", None, 200),
    ("GET", "/v2/health/ready", None, 200),
    ("GET", "/v2/models/digits", None, 200),
    ("GET", "/v2/models/digits/versions/1", None, 200),
    ("GET", "/v2/models/flight-delay", None, 200),
    ("GET", "/v2/models/flight-delay.raw/versions/1", None, 200),
    ("GET", "/v2/models/digit", None, 404),
    ("GET", "/v2/models/digits/versions/9", None, 404),
    ("GET", "/v2/models/digits/ready", None, 200),
    ("GET", "/v2/models/digits/versions/1/ready", None, 200),
    ("GET", "/v2/models/digits/versions/9/ready", None, 404),
    ("POST", "/v2/models/digits/infer", {"inputs": [IMAGE]}, 200),
    ("POST", "/v2/models/digits/infer", {"id": "7", "inputs": [IMAGE], "outputs": [{"name": "digit"}]}, 200),
    ("POST", "/v2/models/digits/versions/1/infer", {"inputs": [IMAGE], "parameters": {"timeout": 0}}, 200),
    ("POST", "/v2/models/flight-delay/infer", FLIGHT, 200),
    ("POST", "/v2/models/flight-delay.raw/infer", X, 200),
    ("POST", "/v2/models/flight-delay.raw/versions/1/infer", X, 200),
    ("POST", "/v2/models/digits/infer", {"inputs": [IMAGE | {"data": [99, 0, 0, 0]}]}, 400),
    ("POST", "/v2/models/digits/versions/9/infer", {"inputs": [IMAGE]}, 404),
    ("POST", "/v2/repository/index", {}, 200),
    ("POST", "/v2/repository/index", {"ready": True}, 200),
    ("POST", "/v2/repository/models/digits/load", {}, 403),
    ("POST", "/v2/repository/models/digits/unload", {}, 403),
]


@pytest.mark.parametrize(("verb", "path", "body", "status"), CALLS)
async def test_an_answer_is_of_the_public_schema(
    front: httpx.AsyncClient, verb: str, path: str, body: Any, status: int
) -> None:
    if path.endswith("/infer"):
        oip_oracle.judge_request(body)
    answer = await front.request(verb, path, content=b"" if body is None else json.dumps(body).encode())
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    oip_oracle.judge(verb, path, status, answer.json())


@pytest.mark.parametrize("path", ["/v2/health/ready", "/v2/models/digits/ready"])
async def test_what_is_not_ready_says_so_where_clients_look(mesh: Mesh, front: httpx.AsyncClient, path: str) -> None:
    mesh.inference.is_ready = False
    answer = await front.get(path)
    assert answer.status_code == 503
    oip_oracle.judge("GET", path, 503, answer.json())


async def test_every_path_of_the_protocol_is_called() -> None:
    """But for the streams of text, which are refused."""
    described = {
        template
        for document in oip_oracle.DOCUMENTS.values()
        for template in document["paths"]
        if not template.endswith(("infer_stream", "generate", "generate_stream"))
    }
    called = [path for _, path, _, _ in CALLS]
    assert {t for t in described if not any(oip_oracle.matches(t, path) for path in called)} == set()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2/models/digits/infer", {"model_name": "digits", "outputs": [{"name": "a", "shape": ["1"]}]}),
        ("/v2/repository/index", [{"name": "a", "state": "LIVE", "reason": ""}]),
    ],
)
def test_the_judge_refuses_what_is_of_another_shape(path: str, body: Any) -> None:
    with pytest.raises(ValidationError):
        oip_oracle.judge("POST", path, 200, body)
