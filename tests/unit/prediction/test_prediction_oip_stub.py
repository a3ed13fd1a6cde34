"""What a model server says, in the words of the mesh."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from predmesh_bundle.schema import Bundle
from predmesh_bundle.store import StoredBundle
from predmesh_prediction.oip_stub import StubInference
from predmesh_rpc.channels import connect
from predmesh_rpc.errors import DeadlineExceeded, DependencyDown, FailedPrecondition, PredmeshError
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc.service_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)

BUNDLE = StoredBundle("m-1-0", Path(), Bundle.model_construct(), datetime(2026, 1, 1, tzinfo=UTC), "m-0")
ROWS = {"x": np.zeros((2, 3), np.float32)}


class Server(GRPCInferenceServiceServicer):  # type: ignore[misc]
    """A model server outside of the mesh, which knows codes and texts alone."""

    code: grpc.StatusCode | None = None
    text = ""
    answer: Any = None
    asked = ""

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        self.asked = request.model_name
        if self.code is not None:
            await context.abort(self.code, self.text)
        return self.answer


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[Server, StubInference]]:
    servicer, listening = Server(), grpc.aio.server()
    add_GRPCInferenceServiceServicer_to_server(servicer, listening)
    listening.add_insecure_port(f"unix:{tmp_path}/triton.sock")
    await listening.start()
    async with connect(f"unix:{tmp_path}/triton.sock") as channel:
        yield servicer, StubInference(channel)
    await listening.stop(0)


SAID = [
    pytest.param("UNAVAILABLE", "Request for unknown model", DependencyDown, "MODEL_SERVER_DOWN", id="not loaded"),
    pytest.param("NOT_FOUND", "model is not found", DependencyDown, "MODEL_SERVER_DOWN", id="unknown"),
    pytest.param("INTERNAL", "Stub process 'm' is not healthy.", DependencyDown, "MODEL_SERVER_DOWN", id="dead stub"),
    pytest.param("INTERNAL", "the model failed on this input: x", FailedPrecondition, "MODEL_FAILED", id="model"),
    pytest.param("INVALID_ARGUMENT", "unexpected shape", FailedPrecondition, "MODEL_FAILED", id="tensors"),
    pytest.param("DEADLINE_EXCEEDED", "", DeadlineExceeded, "DEADLINE", id="late"),
]


@pytest.mark.parametrize(("code", "text", "kind", "reason"), SAID)
async def test_a_fault_is_told_by_what_the_caller_can_do(
    server: tuple[Server, StubInference], code: str, text: str, kind: type[PredmeshError], reason: str
) -> None:
    servicer, stub = server
    servicer.code, servicer.text = grpc.StatusCode[code], text
    with pytest.raises(kind) as caught:
        await stub.infer(BUNDLE, ROWS, ("y",))
    assert caught.value.reason == f"ERROR_REASON_{reason}"
    assert caught.value.metadata.get("bundleId", "m-1-0") == "m-1-0"
    assert not text or text not in caught.value.message


async def test_typed_contents_are_read_too(server: tuple[Server, StubInference]) -> None:
    servicer, stub = server
    servicer.answer = pb.ModelInferResponse()
    output = servicer.answer.outputs.add(name="y", datatype="FP32", shape=[2])
    output.contents.fp32_contents.extend([1, 2])
    assert (await stub.infer(BUNDLE, ROWS, ("y",)))["y"].tolist() == [1.0, 2.0]
    assert servicer.asked == "m-0"


async def test_an_answer_that_cannot_be_read_is_the_models_failure(server: tuple[Server, StubInference]) -> None:
    servicer, stub = server
    servicer.answer = pb.ModelInferResponse(raw_output_contents=[b"123"])
    servicer.answer.outputs.add(name="y", datatype="FP32", shape=[2])
    with pytest.raises(FailedPrecondition):
        await stub.infer(BUNDLE, ROWS, ("y",))


async def test_a_server_that_is_gone_is_neither_live_nor_asked(tmp_path: Path) -> None:
    async with connect(f"unix:{tmp_path}/nobody.sock") as channel:
        stub = StubInference(channel)
        assert not await stub.live()
        with pytest.raises(DependencyDown):
            await stub.infer(BUNDLE, ROWS, ("y",))
