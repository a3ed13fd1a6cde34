"""Streams: answers in order, errors in-band, a bounded number under way."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh_prediction.pipeline import in_order

from tests.unit.prediction.prediction_fakes import FLIGHT, Mesh


def message(model: str = "flight-delay") -> pb.StreamPredictRequest:
    made = pb.StreamPredictRequest(request=pb.PredictRequest(model=model))
    made.request.instances.add().update(FLIGHT)
    return made


async def each(*messages: pb.StreamPredictRequest) -> AsyncIterator[pb.StreamPredictRequest]:
    for one in messages:
        yield one


async def test_answers_come_in_order_and_an_error_does_not_end_the_stream(mesh: Mesh) -> None:
    requests = each(message(), message("flight-dela"), message("digits"), message())
    answers = [answer async for answer in mesh.prediction.StreamPredict(requests)]
    assert [answer.index for answer in answers] == [0, 1, 2, 3]
    assert [answer.WhichOneof("outcome") for answer in answers] == ["response", "error", "error", "response"]
    errors = [answer.error for answer in answers[1:3]]
    assert [error.code for error in errors] == [
        grpc.StatusCode.NOT_FOUND.value[0],
        grpc.StatusCode.INVALID_ARGUMENT.value[0],
    ]
    assert [error.reason for error in errors] == ["ERROR_REASON_MODEL_UNKNOWN", "ERROR_REASON_INVALID_REQUEST"]


async def test_ids_differ_between_the_requests_of_a_stream(mesh: Mesh) -> None:
    call = mesh.prediction.StreamPredict(each(message(), message()), metadata=(("x-request-id", "s"),))
    assert [list(answer.response.prediction_ids) async for answer in call] == [["s-0-0"], ["s-1-0"]]


async def test_a_stream_answers_before_the_next_request_comes(mesh: Mesh) -> None:
    answered = asyncio.Event()

    async def requests() -> AsyncIterator[pb.StreamPredictRequest]:
        yield message()
        await answered.wait()
        yield message()

    indices = []
    async for answer in mesh.prediction.StreamPredict(requests()):
        indices.append(answer.index)
        answered.set()
    assert indices == [0, 1]


async def test_no_more_than_the_window_is_under_way() -> None:
    taken, under_way, most = 0, 0, 0

    async def items() -> AsyncIterator[int]:
        nonlocal taken
        for number in range(20):
            taken += 1
            yield number

    async def work(index: int, item: int) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return item

    results = in_order(items(), work, window=3)
    assert await anext(results) == 0
    assert taken <= 5
    assert [result async for result in results] == list(range(1, 20))
    assert most <= 3


async def test_leaving_a_stream_cancels_what_is_under_way() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def items() -> AsyncIterator[int]:
        yield 0
        yield 1

    async def work(index: int, item: int) -> int:
        if not index:
            return item
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return item

    results = in_order(items(), work, window=4)
    assert await anext(results) == 0
    await begun.wait()
    await results.aclose()
    assert ended.is_set()


async def test_trouble_of_reading_ends_the_stream_with_it() -> None:
    async def items() -> AsyncIterator[int]:
        yield 0
        raise RuntimeError("cut off")

    async def work(index: int, item: int) -> int:
        return item

    seen = []
    with pytest.raises(RuntimeError, match="cut off"):
        async for result in in_order(items(), work, window=2):
            seen.append(result)
    assert seen == [0]
