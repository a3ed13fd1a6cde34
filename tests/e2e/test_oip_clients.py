"""Unmodified clients of the Open Inference Protocol: tritonclient over gRPC and HTTP, sync and asyncio."""

from __future__ import annotations

import inspect
import queue
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc as over_grpc
import tritonclient.grpc.aio as over_grpc_aio
import tritonclient.http as over_http
import tritonclient.http.aio as over_http_aio
from predmesh_testing.running import FLIGHT, RunningMesh
from tritonclient.utils import InferenceServerException

MODEL = "flight-delay"
RAW = f"{MODEL}.raw"
MODULES: dict[str, Any] = {
    "grpc": over_grpc,
    "grpc.aio": over_grpc_aio,
    "http": over_http,
    "http.aio": over_http_aio,
}


class Client:
    """One of tritonclient's four clients; every call can be awaited."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.over_http = name.startswith("http")
        self.module = over_http if self.over_http else over_grpc
        self.triton = MODULES[name].InferenceServerClient(address)

    async def __call__(self, method: str, *words: Any, **named: Any) -> Any:
        answer = getattr(self.triton, method)(*words, **named)
        return await answer if inspect.isawaitable(answer) else answer

    async def document(self, method: str, *words: Any, **named: Any) -> Any:
        """The answer as JSON, which both kinds of clients can give."""
        as_json = {} if self.over_http else {"as_json": True}
        return await self(method, *words, **named, **as_json)

    def inputs(self, binary: bool = True) -> list[Any]:
        made = []
        for name, value in FLIGHT.items():
            number = isinstance(value, float)
            array = np.array([value], np.float64) if number else np.array([str(value).encode()], np.object_)
            tensor = self.module.InferInput(name, [1], "FP64" if number else "BYTES")
            tensor.set_data_from_numpy(array, **({"binary_data": binary} if self.over_http else {}))
            made.append(tensor)
        return made


@pytest.fixture(params=MODULES)
async def client(flights_mesh: RunningMesh, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    client = Client(request.param, flights_mesh.address)
    yield client
    await client("close")


@pytest.fixture(scope="module")
def probability(flights_mesh: RunningMesh) -> Iterator[Any]:
    """What /v1 says of the flight."""
    answer = flights_mesh.post(f"/v1/models/{MODEL}:predict", {"instances": [FLIGHT]})
    yield pytest.approx(float(answer.json()["predictions"][0]["late_probability"]), abs=1e-9)


async def fault(call: Any) -> InferenceServerException:
    with pytest.raises(InferenceServerException) as caught:
        await call
    return caught.value


def late(answer: Any) -> float:
    return float(answer.as_numpy("late_probability").ravel()[0])


async def test_server_and_model_are_live_and_ready(client: Client) -> None:
    assert await client("is_server_live") and await client("is_server_ready")
    assert await client("is_model_ready", MODEL) and await client("is_model_ready", MODEL, "1")


async def test_a_prediction_is_that_of_v1(client: Client, probability: float) -> None:
    assert late(await client("infer", MODEL, client.inputs())) == probability


async def test_a_version_is_asked_for_by_name(client: Client, probability: float) -> None:
    answer = await client("infer", MODEL, client.inputs(), model_version="1", request_id="mine")
    assert late(answer) == probability
    told = answer.get_response()
    found = told if client.over_http else {"id": told.id, "model_version": told.model_version}
    assert (found["id"], found["model_version"]) == ("mine", "1")


@pytest.mark.parametrize("binary", [True, False], ids=["binary tensors", "JSON"])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
async def test_every_form_of_a_body_is_read(
    client: Client, probability: float, binary: bool, compression: str | None
) -> None:
    if client.over_http:
        wanted = [client.module.InferRequestedOutput("late_probability", binary_data=binary)]
        how = {"request_compression_algorithm": compression, "response_compression_algorithm": compression}
    else:
        wanted = [client.module.InferRequestedOutput("late_probability")]
        how = {"compression_algorithm": compression}
    answer = await client("infer", MODEL, client.inputs(binary), outputs=wanted, **how)
    assert late(answer) == probability


async def test_the_model_alone_takes_its_own_tensors(client: Client) -> None:
    described = await client.document("get_model_metadata", RAW, "1")
    made = []
    for spec in described["inputs"]:
        tensor = client.module.InferInput(spec["name"], [3, int(spec["shape"][1])], spec["datatype"])
        made.append(tensor.set_data_from_numpy(np.zeros(tensor.shape(), np.float32)))
    answer = await client("infer", RAW, made, model_version="1")
    for spec in described["outputs"]:
        assert answer.as_numpy(spec["name"]).shape[0] == 3


async def test_metadata_names_the_inputs_of_the_bundle(client: Client) -> None:
    described = await client.document("get_model_metadata", MODEL)
    assert {item["name"] for item in described["inputs"]} == set(FLIGHT)
    assert [item["name"] for item in described["outputs"]] == ["late_probability"]
    assert described["versions"] == ["1"]
    server = await client.document("get_server_metadata")
    assert (server["name"], server["extensions"]) == ("predmesh", ["binary_tensor_data", "model_repository"])


async def test_the_index_lists_what_is_live(client: Client) -> None:
    index = await client.document("get_model_repository_index")
    models = index if client.over_http else index["models"]
    assert {"name": MODEL, "version": "1", "state": "READY"}.items() <= models[0].items()


def bad(client: Client, name: str, values: list[Any], called: str = "") -> list[Any]:
    """Right inputs, but for the named one."""
    made = [each for each in client.inputs() if each.name() != name]
    array = np.array(values, np.float64 if isinstance(values[0], float) else np.object_)
    datatype = "FP64" if isinstance(values[0], float) else "BYTES"
    tensor = client.module.InferInput(called or name, list(array.shape), datatype)
    return [*made, tensor.set_data_from_numpy(array)]


ERRORS: list[tuple[str, Callable[[Client], Any], str, str, str]] = [
    ("model", lambda c: c("infer", "flight-dela", c.inputs()), "404", "NOT_FOUND", "did you mean 'flight-delay'"),
    ("version", lambda c: c("infer", MODEL, c.inputs(), model_version="9"), "404", "NOT_FOUND", "live: 1"),
    ("range", lambda c: c("infer", MODEL, bad(c, "distance_miles", [-1.0])), "400", "INVALID_ARGUMENT", "at least 1"),
    ("name", lambda c: c("infer", MODEL, bad(c, "dest", [b"ORD"], "dst")), "400", "INVALID_ARGUMENT", "'dest'"),
    ("priority", lambda c: c("infer", MODEL, c.inputs(), priority=1), "400", "INVALID_ARGUMENT", "parameters.priority"),
    ("sequence", lambda c: c("infer", MODEL, c.inputs(), sequence_id=7), "400", "INVALID_ARGUMENT", "sequence_id"),
    ("metadata", lambda c: c("get_model_metadata", "flights"), "404", "NOT_FOUND", "no live model"),
    ("config", lambda c: c("get_model_config", MODEL), "501", "UNIMPLEMENTED", "ModelMetadata"),
    ("statistics", lambda c: c("get_inference_statistics", MODEL), "501", "UNIMPLEMENTED", "metrics"),
    ("trace", lambda c: c("get_trace_settings"), "501", "UNIMPLEMENTED", "tracing"),
    ("trace of a model", lambda c: c("update_trace_settings", MODEL), "501", "UNIMPLEMENTED", "tracing"),
    ("log", lambda c: c("get_log_settings"), "501", "UNIMPLEMENTED", "logging"),
    ("log level", lambda c: c("update_log_settings", {"log_info": True}), "501", "UNIMPLEMENTED", "logging"),
    ("memory", lambda c: c("get_system_shared_memory_status"), "501", "UNIMPLEMENTED", "shared memory"),
    ("region", lambda c: c("register_system_shared_memory", "a", "/a", 8), "501", "UNIMPLEMENTED", "shared memory"),
    ("unregister", lambda c: c("unregister_cuda_shared_memory", "a"), "501", "UNIMPLEMENTED", "shared memory"),
    ("load", lambda c: c("load_model", MODEL), "403", "PERMISSION_DENIED", "scope 'admin'"),
    ("unload", lambda c: c("unload_model", MODEL), "403", "PERMISSION_DENIED", "scope 'admin'"),
    (
        "spoofed scope",
        lambda c: c("unload_model", MODEL, headers={"x-predmesh-scopes": "admin"}),
        "403",
        "PERMISSION_DENIED",
        "scope 'admin'",
    ),
]


@pytest.mark.parametrize(("call", "status", "code", "text"), [each[1:] for each in ERRORS], ids=[e[0] for e in ERRORS])
async def test_an_error_reaches_the_client_in_our_words(
    client: Client, call: Callable[[Client], Any], status: str, code: str, text: str
) -> None:
    error = await fault(call(client))
    assert error.status() == (status if client.over_http else f"StatusCode.{code}")
    assert text in error.message()


@pytest.mark.parametrize("side", ["input", "output"])
async def test_shared_memory_is_refused(client: Client, side: str) -> None:
    made, wanted = client.inputs(), [client.module.InferRequestedOutput("late_probability")]
    (made if side == "input" else wanted)[0].set_shared_memory("region", 8)
    error = await fault(client("infer", MODEL, made, outputs=wanted))
    assert "shared memory is not offered" in error.message()


async def test_a_classification_is_refused(client: Client) -> None:
    wanted = [client.module.InferRequestedOutput("late_probability", class_count=2)]
    error = await fault(client("infer", MODEL, client.inputs(), outputs=wanted))
    assert "ask for the scores" in error.message()


async def test_a_request_may_be_given_time(client: Client, probability: float) -> None:
    assert late(await client("infer", MODEL, client.inputs(), timeout=20_000_000)) == probability


def test_a_stream_is_answered_through_callbacks(flights_mesh: RunningMesh, probability: float) -> None:
    client, answered = Client("grpc", flights_mesh.address), queue.Queue[Any]()
    with client.triton as triton:
        triton.start_stream(callback=lambda result, error: answered.put(error or late(result)))
        for model in (MODEL, "flight-dela", MODEL):
            triton.async_stream_infer(model, client.inputs())
        told = [answered.get(timeout=30) for _ in range(3)]
    assert [told[0], told[2]] == [probability] * 2
    assert "did you mean 'flight-delay'" in told[1].message()


async def test_a_stream_is_answered_as_it_is_read(flights_mesh: RunningMesh, probability: float) -> None:
    client = Client("grpc.aio", flights_mesh.address)

    async def requests() -> AsyncIterator[dict[str, Any]]:
        for model in (MODEL, "flight-dela", MODEL):
            yield {"model_name": model, "inputs": client.inputs()}

    told: list[Any] = [error or late(result) async for result, error in client.triton.stream_infer(requests())]
    await client("close")
    assert [told[0], told[2]] == [probability] * 2
    assert "did you mean 'flight-delay'" in told[1].message()


def test_calls_may_be_made_in_the_background(flights_mesh: RunningMesh, probability: float) -> None:
    with over_http.InferenceServerClient(flights_mesh.address, concurrency=4) as client:
        calls = [client.async_infer(MODEL, Client("http", flights_mesh.address).inputs()) for _ in range(8)]
        assert [late(call.get_result()) for call in calls] == [probability] * 8


@pytest.mark.parametrize(
    ("path", "status"), [("/v2/models/flight-dela", 404), ("/v2/nowhere", 404), ("/v2/models/flight-delay/infer", 405)]
)
def test_every_error_document_has_its_message_twice(flights_mesh: RunningMesh, path: str, status: int) -> None:
    answer = httpx.get(f"http://{flights_mesh.address}{path}")
    assert answer.status_code == status
    assert answer.json()["error"] == answer.json()["message"]


def test_the_root_of_the_protocol_may_end_with_a_slash(flights_mesh: RunningMesh) -> None:
    url = f"http://{flights_mesh.address}/v2"
    assert httpx.get(url).json() == httpx.get(f"{url}/").json()
