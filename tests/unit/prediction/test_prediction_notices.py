"""Answers of a version that will go say when, and where to go."""

import httpx
import pytest
from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh_bundle.schema import Bundle
from predmesh_prediction.notices import notices

from tests.unit.prediction.prediction_fakes import FLIGHT, FLIGHTS, Mesh, changed

GOING = changed(FLIGHTS, deprecated={"since": "2026-11-21", "sunset": "2027-05-21", "successor": "2"})
TOLD = {
    "deprecation": "@1795219200",
    "sunset": "Fri, 21 May 2027 00:00:00 GMT",
    "link": '</v1/models/flight-delay/versions/2>; rel="successor-version"',
}


@pytest.mark.parametrize(
    ("bundle", "told"),
    [
        (FLIGHTS, {}),
        (GOING, TOLD),
        (changed(FLIGHTS, deprecated={"since": "2026-11-21"}), {"deprecation": TOLD["deprecation"]}),
    ],
)
def test_headers_say_what_the_bundle_says(bundle: Bundle, told: dict[str, str]) -> None:
    assert dict(notices(bundle)) == told


async def test_answers_carry_them_over_grpc(mesh: Mesh) -> None:
    await mesh.deploy(GOING)
    request = pb.PredictRequest(model="flight-delay")
    request.instances.add().update(FLIGHT)
    call = mesh.prediction.Predict(request)
    await call
    assert TOLD.items() <= dict(await call.initial_metadata()).items()


async def test_answers_carry_them_over_rest(mesh: Mesh, front: httpx.AsyncClient) -> None:
    body = {"instances": [FLIGHT]}
    assert "deprecation" not in (await front.post("/v1/models/flight-delay:predict", json=body)).headers
    await mesh.deploy(GOING)
    for path, sent in ((":predict", body), (":explain", body), ("/versions/1/typed:predict", {"instance": FLIGHT})):
        answer = await front.post(f"/v1/models/flight-delay{path}", json=sent)
        assert answer.status_code == 200
        assert TOLD.items() <= dict(answer.headers).items()
