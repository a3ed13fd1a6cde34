"""A model's own REST paths through the gateway."""

from collections.abc import Iterator

import httpx
import pytest
from predmesh_testing.running import FLIGHT, RunningMesh

PATH = "/v1/models/flight-delay/versions/1"


@pytest.fixture
def rest(flights_mesh: RunningMesh) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{flights_mesh.address}", timeout=30) as client:
        yield client


def test_typed_and_generic_calls_are_answered_alike(rest: httpx.Client) -> None:
    known = rest.post(f"{PATH}:predict", json={"instances": [FLIGHT]}).json()["predictions"]
    assert rest.post(f"{PATH}/typed:predict", json={"instance": FLIGHT}).json()["prediction"] == known[0]
    batch = rest.post(f"{PATH}/typed:predictBatch", json={"instances": [FLIGHT]}).json()
    assert batch["predictions"] == known
    explained = rest.post(f"{PATH}/typed:explain", json={"instance": FLIGHT, "top": 1}).json()
    assert explained["prediction"]["prediction"] == known[0]
    assert len(explained["explanation"]["attributions"]) == 1


def test_a_wrong_row_is_refused_with_the_nearest_right_value(rest: httpx.Client) -> None:
    answer = rest.post(f"{PATH}/typed:predict", json={"instance": FLIGHT | {"carrier": "UAA"}})
    assert answer.status_code == 400
    assert "instance.carrier" in answer.json()["message"]
    assert "did you mean 'UA'?" in answer.json()["message"]


@pytest.mark.parametrize(
    ("file", "kind", "held"),
    [
        ("contract.proto", "text/plain; charset=utf-8", b"service FlightDelayService {"),
        ("openapi.json", "application/json", b'"openapi":'),
        ("schema.json", "application/schema+json", b'"$schema":'),
        ("reference.html", "text/html; charset=utf-8", b"<h1>flight-delay <small>version 1</small></h1>"),
        ("contract.binpb", "application/octet-stream", b"FlightDelayService"),
    ],
)
def test_the_files_of_the_contract_are_served(rest: httpx.Client, file: str, kind: str, held: bytes) -> None:
    answer = rest.get(f"{PATH}/contract/{file}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert held in answer.content
