from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceServicer, add_GRPCInferenceServiceServicer_to_server

from loadtests.bench.runs import Load
from loadtests.gpu.asking import Tally, ask, message, problem, questions
from loadtests.gpu.offline import Floats

IMAGES = np.arange(4 * 4, dtype=np.float32).reshape(4, 2, 2)


def doubled(images: Floats) -> Floats:
    return 2 * images.reshape(len(images), -1)


def response(values: Floats) -> Any:
    answer = pb.ModelInferResponse(raw_output_contents=[values.astype("<f4").tobytes()])
    answer.outputs.add(name="probabilities", datatype="FP32", shape=values.shape)
    return answer


class Doubling(GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Doubles pixels; wrong by 1 where the first of them is 4, and down where it is 8."""

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        images = np.frombuffer(request.raw_input_contents[0], "<f4").reshape(list(request.inputs[0].shape))
        if images.flat[0] == 8:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        return response(doubled(images) + (images.flat[0] == 4))


@pytest.fixture
async def address() -> AsyncIterator[str]:
    server = grpc.aio.server()
    add_GRPCInferenceServiceServicer_to_server(Doubling(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


async def test_failed_and_wrong_answers_are_told_from_right_ones(address: str):
    asked = questions("m", IMAGES, doubled(IMAGES), rows=1)
    run = await ask(address, asked, Load(concurrency=4, seconds=0.5), "name")
    assert 0 < run.failed < run.requests
    assert set(run.errors) == {"differs by 1", "UNAVAILABLE: away"}


async def test_all_is_well_where_every_answer_is_right(address: str):
    asked = questions("m", IMAGES, doubled(IMAGES), rows=1)[:1]
    run = await ask(address, asked, Load(concurrency=2, seconds=0.1), "name")
    assert (run.failed, run.errors) == (0, ()) and run.requests > 0 and run.per_second > 0


def test_a_request_carries_its_images_as_bytes():
    request = pb.ModelInferRequest.FromString(message("m", IMAGES[2:]))
    assert (request.model_name, list(request.inputs[0].shape)) == ("m", [2, 2, 2])
    assert request.raw_input_contents[0] == IMAGES[2:].tobytes()


def test_answers_too_alike_to_be_told_apart_are_refused():
    answers = np.array([[0.1], [0.5], [0.1005], [0.9]], np.float32)
    with pytest.raises(ValueError, match="could not be told"):
        questions("m", IMAGES, answers, rows=1)


@pytest.mark.parametrize(
    ("off", "words"),
    [(0.00009, ""), (0.0002, "differs by 0.0002"), (np.nan, "differs by nan")],
    ids=["close", "wrong", "not a number"],
)
def test_an_answer_may_differ_by_the_tolerance(off: float, words: str):
    wanted = np.zeros((2, 3), np.float32)
    assert problem(response(wanted + np.float32(off)), wanted) == words


def test_an_answer_of_another_shape_is_wrong():
    assert "FP32 [1, 3], not FP32 [2, 3]" in problem(
        response(np.zeros((1, 3), np.float32)), np.zeros((2, 3), np.float32)
    )


def test_a_tally_counts_right_answers_in_rate_and_times():
    run = Tally([0.010] * 99 + [0.2], ["away", "away", "late"]).run("m", Load(concurrency=1, seconds=2), 2.0)
    assert (run.requests, run.failed, run.per_second) == (103, 3, 50)
    assert (run.p50_ms, run.p95_ms) == pytest.approx((10, 10))
    assert run.errors == ("away", "late")
