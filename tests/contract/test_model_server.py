"""One suite for whatever runs models: the runtime in this process, and Triton with the same runtime in its stubs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import numpy as np
import pytest
from predmesh_inference.domain import Model
from predmesh_inference.local import LocalInferenceServicer
from predmesh_inference.local_server import LocalServer
from predmesh_inference.oip import from_response, to_request
from predmesh_inference.probes import synthetic
from predmesh_inference.repository import Repository
from predmesh_inference.triton_server import TritonLimits, TritonServer
from predmesh_rpc.channels import connect
from predmesh_rpc.inprocess import InProcessChannel, InProcessServer
from predmesh_testing.models import MAKERS, Example
from predmesh_testing.triton import needs_triton
from predmesh_testing.triton import triton as triton  # a fixture
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc.service_pb2_grpc import (
    GRPCInferenceServiceStub,
    add_GRPCInferenceServiceServicer_to_server,
)

Code = grpc.StatusCode


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Example]:
    return {name: make(tmp_path_factory.mktemp(name)) for name, make in MAKERS.items()}


class Served:
    """A model server and a client of it."""

    def __init__(self, server: Any, channel: grpc.aio.Channel, examples: dict[str, Example]) -> None:
        self.server = server
        self.stub = GRPCInferenceServiceStub(channel)
        self.examples = examples

    async def load(self, name: str, **changes: Any) -> str:
        """What the example is called, loaded."""
        example = self.examples[name]
        inference = example.inference.model_copy(update=changes)
        model = Model(
            f"contract-{name}", "contract-1-0", example.folder, inference, "cpu", (synthetic(inference),), exact=False
        )
        await self.server.load(model)
        return model.name

    async def ask(self, model: str, **tensors: Any) -> dict[str, np.ndarray[Any, Any]]:
        """What the model answers."""
        return from_response(await self.stub.ModelInfer(to_request(model, tensors), timeout=10))

    async def code(self, model: str, **tensors: Any) -> grpc.StatusCode:
        """How a request fails."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.ask(model, **tensors)
        return caught.value.code()


@pytest.fixture(params=["in-process", pytest.param("triton", marks=needs_triton)])
async def served(request: pytest.FixtureRequest, examples: dict[str, Example]) -> AsyncIterator[Served]:
    async with AsyncExitStack() as stack:
        if request.param == "triton":
            running = request.getfixturevalue("triton")
            agents = await stack.enter_async_context(connect(running.address))
            server: Any = TritonServer(agents, running.address, Repository(running.repository), TritonLimits())
            # As prediction asks it.
            channel: Any = await stack.enter_async_context(connect(f"h2+{running.address}"))
        else:
            server = LocalServer()
            stack.callback(server.close)
            front = InProcessServer()
            add_GRPCInferenceServiceServicer_to_server(LocalInferenceServicer(server), front)
            stack.push_async_callback(front.stop)
            channel = InProcessChannel(front)
        yield Served(server, channel, examples)


@pytest.mark.parametrize("name", MAKERS)
async def test_the_answer_is_the_frameworks_own(served: Served, name: str) -> None:
    example = served.examples[name]
    answers = await served.ask(await served.load(name), **example.rows)
    assert answers.keys() == example.answers.keys()
    for output, expected in example.answers.items():
        if expected.dtype == object:
            assert answers[output].tolist() == expected.tolist()
        else:
            np.testing.assert_allclose(answers[output], expected, atol=1e-6)


async def test_only_the_outputs_asked_for_come_back(served: Served) -> None:
    request = to_request(await served.load("onnx"), {"features": np.ones((1, 4), np.float32)})
    request.outputs.add(name="sum")
    assert list(from_response(await served.stub.ModelInfer(request, timeout=10))) == ["sum"]


async def test_typed_contents_are_taken_as_raw_ones_are(served: Served) -> None:
    request = pb.ModelInferRequest(model_name=await served.load("onnx"))
    request.inputs.add(name="features", datatype="FP32", shape=[1, 4]).contents.fp32_contents.extend([1, 2, 3, 4])
    answer = from_response(await served.stub.ModelInfer(request, timeout=10))
    assert answer["sum"].tolist() == [[10.0]]


async def test_an_unknown_model_is_not_found(served: Served) -> None:
    assert await served.code("contract-unknown", features=np.ones((1, 4), np.float32)) is Code.NOT_FOUND


@pytest.mark.parametrize(
    "tensors",
    [
        pytest.param({"features": np.ones((1, 3), np.float32)}, id="width"),
        pytest.param({"features": np.ones(4, np.float32)}, id="no rows axis"),
        pytest.param({"features": np.ones((1, 4), np.float64)}, id="datatype"),
        pytest.param({"feature": np.ones((1, 4), np.float32)}, id="unknown input"),
        pytest.param({}, id="no input"),
        pytest.param({"features": np.ones((0, 4), np.float32)}, id="no rows"),
        pytest.param({"features": np.ones((1025, 4), np.float32)}, id="too many rows"),
    ],
)
async def test_tensors_that_the_model_does_not_take_are_refused(served: Served, tensors: dict[str, Any]) -> None:
    assert await served.code(await served.load("onnx"), **tensors) is Code.INVALID_ARGUMENT


async def test_bytes_that_do_not_fill_the_shape_are_refused(served: Served) -> None:
    request = to_request(await served.load("onnx"), {"features": np.ones((2, 4), np.float32)})
    request.raw_input_contents[0] = b"\0" * 12
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.stub.ModelInfer(request, timeout=10)
    assert caught.value.code() is Code.INVALID_ARGUMENT


async def test_the_largest_batch_is_answered_whole(served: Served) -> None:
    rows = np.arange(4096, dtype=np.float32).reshape(1024, 4)
    answers = await served.ask(await served.load("onnx"), features=rows)
    np.testing.assert_allclose(answers["squares"], rows**2, rtol=1e-6)


async def test_concurrent_callers_get_their_own_answers(served: Served) -> None:
    model = await served.load("onnx")
    asked = [np.full((1 + number % 3, 4), number, np.float32) for number in range(64)]
    answers = await asyncio.gather(*(served.ask(model, features=rows) for rows in asked))
    for rows, answer in zip(asked, answers, strict=True):
        np.testing.assert_allclose(answer["sum"], rows.sum(axis=1, keepdims=True))


async def test_a_failure_of_the_models_own_code_is_told_to_its_caller_alone(served: Served) -> None:
    model = await served.load("python")
    asked = [np.array([text], dtype=object) for text in (b"a", b"stumble", b"b")]
    calls = (served.ask(model, text=text, number=np.array([1])) for text in asked)
    first, failed, last = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(first, dict) and first["loud"].tolist() == [b"A"]
    assert isinstance(last, dict) and last["loud"].tolist() == [b"B"]
    assert isinstance(failed, grpc.aio.AioRpcError)
    assert failed.code() in (Code.INTERNAL, Code.FAILED_PRECONDITION)


async def test_a_cancelled_call_leaves_the_model_answering(served: Served) -> None:
    model = await served.load("onnx")
    call = served.stub.ModelInfer(to_request(model, {"features": np.ones((1024, 4), np.float32)}), timeout=10)
    call.cancel()
    with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
        await call
    assert (await served.ask(model, features=np.ones((1, 4), np.float32)))["sum"].tolist() == [[4.0]]


async def test_an_unloaded_model_is_not_found(served: Served) -> None:
    model = await served.load("python")
    await served.server.unload(model)
    number, text = np.array([1]), np.array([b"a"], dtype=object)
    assert await served.code(model, text=text, number=number) is Code.NOT_FOUND


async def test_a_model_says_what_it_takes(served: Served) -> None:
    model = await served.load("onnx")
    described = await served.stub.ModelMetadata(pb.ModelMetadataRequest(name=model), timeout=10)
    assert [(item.name, item.datatype, list(item.shape)) for item in described.inputs] == [
        ("features", "FP32", [-1, 4])
    ]
    assert (await served.stub.ModelReady(pb.ModelReadyRequest(name=model), timeout=10)).ready
