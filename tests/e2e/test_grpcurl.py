"""Debugging by grpcurl: reflection and calls on the gateway's one port."""

import json
import subprocess

from predmesh_testing.needs import find, needs
from predmesh_testing.running import FLIGHT, RunningMesh

pytestmark = needs("grpcurl")


def grpcurl(mesh: RunningMesh, *words: str, data: object = None) -> str:
    program = find("grpcurl")
    assert program, "grpcurl is missing; deploy/tools.py installs it where Go is"
    options = [] if data is None else ["-d", json.dumps(data)]
    command = [program, "-plaintext", *options, mesh.address, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_reflection_lists_the_services(flights_mesh: RunningMesh) -> None:
    listed = grpcurl(flights_mesh, "list").split()
    assert {"predmesh.prediction.v1.PredictionService", "inference.GRPCInferenceService"} <= set(listed)


def test_a_call_by_reflection_predicts(flights_mesh: RunningMesh) -> None:
    request = {"model": "flight-delay", "instances": [FLIGHT]}
    answer = json.loads(grpcurl(flights_mesh, "predmesh.prediction.v1.PredictionService/Predict", data=request))
    assert 0 < answer["predictions"][0]["late_probability"] < 1


def test_health_is_served(flights_mesh: RunningMesh) -> None:
    assert json.loads(grpcurl(flights_mesh, "grpc.health.v1.Health/Check"))["status"] == "SERVING"


def test_a_models_own_service_is_found_by_reflection(flights_mesh: RunningMesh) -> None:
    service = "predmesh.models.flight_delay.v1.FlightDelayService"
    assert service in grpcurl(flights_mesh, "list").split()
    assert "optional string carrier = 1" in grpcurl(flights_mesh, "describe", f"{service[:-18]}Inputs")
    answer = json.loads(grpcurl(flights_mesh, f"{service}/Predict", data={"instance": FLIGHT}))
    assert 0 < answer["prediction"]["late_probability"] < 1
