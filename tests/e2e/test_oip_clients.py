"""Unmodified Open Inference Protocol clients: tritonclient over gRPC and HTTP, through the gateway."""

import numpy as np
import pytest
import tritonclient.grpc as over_grpc
import tritonclient.http as over_http
from predmesh_testing.running import FLIGHT, RunningMesh
from tritonclient.utils import InferenceServerException


def probability(mesh: RunningMesh) -> float:
    answer = mesh.post("/v1/models/flight-delay:predict", {"instances": [FLIGHT]})
    return float(answer.json()["predictions"][0]["late_probability"])


def inputs(module: object) -> list[object]:
    made = []
    for name, value in FLIGHT.items():
        number = isinstance(value, float)
        array = np.array([value], np.float64) if number else np.array([str(value).encode()], np.object_)
        tensor = module.InferInput(name, [1], "FP64" if number else "BYTES")  # type: ignore[attr-defined]
        tensor.set_data_from_numpy(array)
        made.append(tensor)
    return made


def test_the_grpc_client_gets_the_answer_of_rest(flights_mesh: RunningMesh) -> None:
    with over_grpc.InferenceServerClient(flights_mesh.address) as client:
        assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("flight-delay")
        answer = client.infer("flight-delay", inputs(over_grpc))
    assert answer.as_numpy("late_probability").ravel()[0] == pytest.approx(probability(flights_mesh), abs=1e-9)


@pytest.mark.parametrize("binary", [True, False], ids=["binary tensors", "JSON"])
def test_the_http_client_gets_the_answer_of_rest(flights_mesh: RunningMesh, binary: bool) -> None:
    with over_http.InferenceServerClient(flights_mesh.address) as client:
        assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("flight-delay")
        sent = inputs(over_http)
        for tensor in sent:
            tensor.set_data_from_numpy(tensor_array(tensor.name()), binary_data=binary)  # type: ignore[attr-defined]
        wanted = [over_http.InferRequestedOutput("late_probability", binary_data=binary)]
        answer = client.infer("flight-delay", sent, outputs=wanted)
    assert answer.as_numpy("late_probability").ravel()[0] == pytest.approx(probability(flights_mesh), abs=1e-9)


def tensor_array(name: str) -> np.ndarray:
    value = FLIGHT[name]
    return np.array([value], np.float64) if isinstance(value, float) else np.array([str(value).encode()], np.object_)


def test_metadata_names_the_inputs_of_the_bundle(flights_mesh: RunningMesh) -> None:
    with over_http.InferenceServerClient(flights_mesh.address) as client:
        metadata = client.get_model_metadata("flight-delay")
    assert {item["name"] for item in metadata["inputs"]} == set(FLIGHT)
    assert [item["name"] for item in metadata["outputs"]] == ["late_probability"]


def test_shared_memory_is_refused(flights_mesh: RunningMesh) -> None:
    with over_grpc.InferenceServerClient(flights_mesh.address) as client:
        tensor = over_grpc.InferInput("carrier", [1], "BYTES")
        tensor.set_shared_memory("region", 8)
        with pytest.raises(InferenceServerException, match=r"shared.memory"):
            client.infer("flight-delay", [tensor])
