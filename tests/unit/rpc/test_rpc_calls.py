"""What a call is like, whichever way it takes: one suite for the wire and for a servicer in the same process."""

import asyncio
import contextlib
import gc
import logging
import weakref
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from predmesh_rpc import context, deadline
from predmesh_rpc.errors import (
    DeadlineExceeded,
    DependencyDown,
    FailedPrecondition,
    InvalidInput,
    NotFound,
    NotOffered,
    PredmeshError,
    TooMuch,
    Violation,
)
from predmesh_rpc.inprocess import InProcessChannel, InProcessServer
from predmesh_rpc.translate import status_of, translate

A = StringValue(value="a")

ERRORS = [
    (InvalidInput("ERROR_REASON_INVALID_REQUEST", "no", [Violation("x", "is bad")], model="m"), "INVALID_ARGUMENT"),
    (NotFound("ERROR_REASON_MODEL_UNKNOWN", "no", model="m"), "NOT_FOUND"),
    (TooMuch("ERROR_REASON_OVERLOADED", "no", 0.25, queued_rows=7), "RESOURCE_EXHAUSTED"),
    (DependencyDown("ERROR_REASON_STORE_DOWN", "no", store="redis"), "UNAVAILABLE"),
    (DeadlineExceeded("ERROR_REASON_DEADLINE", "no", stage="features"), "DEADLINE_EXCEEDED"),
    (FailedPrecondition("ERROR_REASON_NOT_EXPLAINABLE", "no", model="m"), "FAILED_PRECONDITION"),
    (NotOffered("ERROR_REASON_NOT_OFFERED", "no", method="m"), "UNIMPLEMENTED"),
    (PredmeshError("ERROR_REASON_INTERNAL", "no", request_id="r"), "INTERNAL"),
]


def raising(error: BaseException) -> Any:
    async def behave(text: str) -> str:
        raise error

    return behave


async def each(*texts: str) -> Any:
    for text in texts:
        yield StringValue(value=text)


async def failure(awaitable: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await awaitable
    return raised.value


async def values(call: Any) -> list[str]:
    return [message.value async for message in call]


async def test_every_shape_of_call_is_answered(stub: Any) -> None:
    assert (await stub.Unary(A)).value == "a"
    assert (await stub.Up(each("a", "b"))).value == "ab"
    assert await values(stub.Down(StringValue(value="abc"))) == ["a", "b", "c"]
    assert await values(stub.Both(each("a", "b"))) == ["a", "b"]


async def test_a_plain_iterator_may_bring_the_requests(stub: Any) -> None:
    assert (await stub.Up(iter([A, A]))).value == "aa"


async def test_requests_may_be_written_one_by_one(stub: Any) -> None:
    call = stub.Both()
    for text in "ab":
        await call.write(StringValue(value=text))
        assert (await call.read()).value == text
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_more_messages_than_any_queue_holds_come_in_order(stub: Any) -> None:
    text = "0123456789" * 20
    assert "".join(await values(stub.Down(StringValue(value=text)))) == text


@pytest.mark.parametrize(("error", "code"), ERRORS, ids=[code for _, code in ERRORS])
async def test_an_error_arrives_as_it_was_raised(stub: Any, echo: Any, error: PredmeshError, code: str) -> None:
    echo.behave = raising(error)
    raised = await failure(stub.Unary(A))
    told = translate(raised, "echo")
    assert raised.code().name == code
    assert (type(told), told.reason, told.message, told.metadata) == (
        type(error),
        error.reason,
        error.message,
        error.metadata,
    )
    assert getattr(told, "violations", None) == getattr(error, "violations", None)
    assert getattr(told, "retry_after_seconds", None) == getattr(error, "retry_after_seconds", None)


async def test_a_stream_fails_after_what_it_gave(stub: Any, echo: Any) -> None:
    async def behave(text: str) -> str:
        if text == "b":
            raise NotFound("ERROR_REASON_MODEL_UNKNOWN", "no b")
        return text

    echo.behave = behave
    call = stub.Down(StringValue(value="abc"))
    assert (await call.read()).value == "a"
    assert translate(await failure(call.read()), "echo").reason == "ERROR_REASON_MODEL_UNKNOWN"
    assert await call.code() is grpc.StatusCode.NOT_FOUND


async def test_nothing_of_an_unexpected_error_leaks_and_it_is_logged_once(
    stub: Any, echo: Any, caplog: pytest.LogCaptureFixture
) -> None:
    echo.behave = raising(RuntimeError("password=hunter2"))
    with caplog.at_level(logging.ERROR, "predmesh_rpc"):
        raised = await failure(stub.Unary(A))
    assert raised.code() is grpc.StatusCode.INTERNAL
    assert "hunter2" not in f"{raised!r} {raised.details()} {raised.trailing_metadata()} {status_of(raised)}"
    assert [record.exc_info is not None for record in caplog.records] == [True]
    assert translate(raised, "echo").metadata["requestId"] == dict(raised.trailing_metadata())["x-request-id"]


async def test_an_expected_error_is_found_in_a_group(stub: Any, echo: Any) -> None:
    async def behave(text: str) -> str:
        async with asyncio.TaskGroup() as group:
            group.create_task(raising(NotFound("ERROR_REASON_MODEL_UNKNOWN", "no"))(text))
            group.create_task(echo.forever(text))
        return text

    echo.behave = behave
    assert (await failure(stub.Unary(A))).code() is grpc.StatusCode.NOT_FOUND


async def test_an_unexpected_error_in_a_group_is_not_hidden_by_an_expected_one(stub: Any, echo: Any) -> None:
    error = NotFound("ERROR_REASON_MODEL_UNKNOWN", "no")
    echo.behave = raising(ExceptionGroup("two", [error, ValueError("x")]))
    assert (await failure(stub.Unary(A))).code() is grpc.StatusCode.INTERNAL


async def test_the_callers_time_reaches_the_servicer(stub: Any, echo: Any) -> None:
    async def behave(text: str) -> str:
        return str(deadline.remaining())

    echo.behave = behave
    assert 1.5 < float((await stub.Unary(A, timeout=2.0)).value) <= 2.1


async def test_the_ambient_time_of_the_caller_reaches_the_servicer(stub: Any, echo: Any) -> None:
    async def behave(text: str) -> str:
        return str(deadline.remaining())

    echo.behave = behave
    with deadline.within(2.0):
        assert float((await stub.Unary(A, timeout=60)).value) <= 2.1
        assert deadline.remaining() > 1.5
    assert float((await stub.Unary(A)).value) > 4.5  # the server's default


@pytest.mark.parametrize("shape", ["Unary", "Down"])
async def test_work_ends_with_the_default_deadline(hasty_stub: Any, echo: Any, shape: str) -> None:
    echo.behave = echo.forever
    call = getattr(hasty_stub, shape)(A)
    raised = await failure(call if shape == "Unary" else call.read())
    assert raised.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert translate(raised, "echo").metadata == {"budgetSeconds": "0.05"}
    assert echo.stopped.is_set()


async def test_work_ends_with_the_callers_deadline(stub: Any, echo: Any) -> None:
    echo.behave = echo.forever
    raised = await failure(stub.Unary(A, timeout=0.05))
    assert raised.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(echo.stopped.wait(), 5)


async def test_expired_work_is_not_begun(stub: Any, echo: Any) -> None:
    with deadline.within(0):
        assert (await failure(stub.Unary(A))).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert echo.calls == 0


@pytest.mark.parametrize("shape", ["Unary", "Down"])
async def test_the_callers_cancel_stops_the_work(stub: Any, echo: Any, shape: str) -> None:
    echo.behave = echo.forever
    call = getattr(stub, shape)(A)
    await asyncio.wait_for(echo.entered.wait(), 5)
    call.cancel()
    await asyncio.wait_for(echo.stopped.wait(), 5)
    assert await call.code() is grpc.StatusCode.CANCELLED


async def test_a_cancelled_task_takes_its_call_along(stub: Any, echo: Any) -> None:
    echo.behave = echo.forever

    async def ask() -> None:
        await stub.Unary(A)

    task = asyncio.create_task(ask())
    await asyncio.wait_for(echo.entered.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(echo.stopped.wait(), 5)


async def test_a_stream_that_is_dropped_in_process_stops_the_work(opened: Any, echo: Any) -> None:
    echo.behave = echo.forever
    async with opened("in-process", echo) as stub:
        call = stub.Down(A)
        await asyncio.wait_for(echo.entered.wait(), 5)
        del call
        gc.collect()
        await asyncio.wait_for(echo.stopped.wait(), 5)


async def test_the_request_id_goes_through_and_comes_back(stub: Any, echo: Any) -> None:
    async def behave(text: str) -> str:
        return context.request_id()

    echo.behave = behave
    call = stub.Unary(A, metadata=(("x-request-id", "r-1"),))
    assert (await call).value == "r-1"
    assert dict(await call.trailing_metadata())["x-request-id"] == "r-1"


@pytest.mark.parametrize("given", ["", "x" * 200], ids=["none", "too-long"])
async def test_a_request_without_a_usable_id_gets_one(stub: Any, echo: Any, given: str) -> None:
    async def behave(text: str) -> str:
        return context.request_id()

    echo.behave = behave
    ids = {(await stub.Unary(A, metadata=(("x-request-id", given),))).value for _ in range(2)}
    assert len(ids) == 2
    assert all(len(id) == 32 for id in ids)


async def test_ids_go_on_to_the_next_service(stub: Any, echo: Any) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    async def behave(text: str) -> str:
        if text == "a":
            return str((await stub.Unary(StringValue(value="b"))).value)
        return f"{context.request_id()} {context.header('traceparent')} {context.trace_id()}"

    echo.behave = behave
    answer = await stub.Unary(A, metadata=(("x-request-id", "r-1"), ("traceparent", trace)))
    assert answer.value == f"r-1 {trace} 0af7651916cd43dd8448eb211c80319c"
    assert context.request_id() == ""


@pytest.mark.parametrize("shape", ["Unary", "Down"])
async def test_a_servicer_may_set_headers_of_the_answer(stub: Any, echo: Any, shape: str) -> None:
    async def behave(text: str) -> str:
        context.send_initial_metadata("x-model", "m")
        return text

    echo.behave = behave
    call = getattr(stub, shape)(A)
    await (call if shape == "Unary" else call.read())
    assert dict(await call.initial_metadata())["x-model"] == "m"


async def test_a_method_that_is_not_offered_is_told_by_its_reason(stub: Any) -> None:
    raised = await failure(stub.Unknown(A))
    assert raised.code() is grpc.StatusCode.UNIMPLEMENTED
    assert translate(raised, "echo").metadata == {"method": "/predmesh.test.v1.EchoService/Unknown"}


async def test_a_servicers_own_abort_passes(stub: Any) -> None:
    raised = await failure(stub.Unary(StringValue(value="abort")))
    assert (raised.code(), raised.details()) == (grpc.StatusCode.DATA_LOSS, "gone")


async def test_a_cancellation_from_below_is_a_failure_and_not_the_callers(stub: Any, echo: Any) -> None:
    async def behave(text: str) -> str:
        below = asyncio.create_task(echo.forever(text))
        asyncio.get_running_loop().call_soon(below.cancel)
        await below
        return text

    echo.behave = behave
    assert (await failure(stub.Unary(A))).code() is grpc.StatusCode.INTERNAL


async def test_work_that_ignores_its_end_is_late_all_the_same(hasty_stub: Any, echo: Any) -> None:
    async def behave(text: str) -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await echo.forever(text)
        return text

    echo.behave = behave
    assert (await failure(hasty_stub.Unary(A))).code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_server_in_process_that_ends_answers_as_one_that_is_gone(
    echo: Any, echo_registration: Any, stub_of: Any
) -> None:
    server = InProcessServer([echo_registration])
    stub = stub_of(InProcessChannel(server))
    echo.behave = echo.forever
    call = stub.Unary(A)
    await asyncio.wait_for(echo.entered.wait(), 5)
    await server.stop()
    assert (await failure(call)).code() is grpc.StatusCode.UNAVAILABLE
    assert translate(await failure(stub.Unary(A)), "echo").reason == "ERROR_REASON_DRAINING"


class Asked:
    """Stands for what a call holds."""


async def fails(stub: Any, shape: str) -> None:
    if shape == "Unary":
        await failure(stub.Unary(A))
    elif shape == "Up":
        await failure(stub.Up(each("a")))
    else:
        await failure(values(stub.Down(A) if shape == "Down" else stub.Both(each("a"))))


@pytest.mark.parametrize("shape", ["Unary", "Up", "Down", "Both"])
async def test_a_call_that_failed_is_freed_without_a_collection(stub: Any, echo: Any, shape: str) -> None:
    freed = asyncio.Event()

    async def behave(text: str) -> str:
        asked = Asked()
        weakref.finalize(asked, freed.set)
        told = InvalidInput("ERROR_REASON_INVALID_REQUEST", "no")
        raise told

    echo.behave = behave
    gc.disable()
    try:
        await fails(stub, shape)
        async with asyncio.timeout(5):
            await freed.wait()
    finally:
        gc.enable()


@pytest.mark.parametrize("shape", ["Unary", "Up", "Down"])
async def test_what_grpc_keeps_of_a_failed_call_is_freed_without_a_collection(
    opened: Any, echo: Any, shape: str
) -> None:
    echo.behave = raising(ERRORS[0][0])
    gc.collect()
    gc.disable()
    try:
        async with opened("unix", echo) as stub:
            await fails(stub, shape)
        assert not [each for each in gc.get_objects() if isinstance(each, grpc.aio.AbortError)]
    finally:
        gc.enable()
