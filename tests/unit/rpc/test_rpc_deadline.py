import asyncio
import math

import pytest
from predmesh_rpc import context, deadline


async def test_outside_of_any_deadline_time_is_infinite() -> None:
    assert deadline.remaining() == math.inf
    assert deadline.timeout() is None


async def test_a_deadline_shortens_and_never_lengthens() -> None:
    with deadline.within(1.0):
        with deadline.within(60.0):
            assert 0.9 < deadline.remaining() <= 1.0
        with deadline.within(0.5):
            assert deadline.remaining() <= 0.5
        assert deadline.remaining() > 0.9
    assert deadline.remaining() == math.inf


async def test_no_time_is_left_once_it_has_passed() -> None:
    with deadline.within(-1.0):
        assert deadline.remaining() == 0.0
        assert deadline.timeout() == 0.0


async def test_tasks_inherit_the_deadline_of_whom_started_them() -> None:
    async def left() -> float:
        return deadline.remaining()

    with deadline.within(1.0):
        task = asyncio.create_task(left())
    assert await task <= 1.0


def test_outside_of_a_request_there_is_no_id_and_nothing_to_send_on() -> None:
    assert context.request_id() == ""
    assert context.header("x") == ""
    assert context.outgoing() == []
    context.send_initial_metadata("x-model", "m")


@pytest.mark.parametrize("id", ["", "a\nb", "é", "x" * 129])
def test_an_unusable_request_id_is_replaced(id: str) -> None:
    assert context.Request((("x-request-id", id),)).id != id


async def test_what_a_caller_sends_itself_wins_over_what_is_ambient() -> None:
    context.enter(context.Request((("x-request-id", "r-1"), ("traceparent", "t"))))
    assert context.joined((("x-request-id", "mine"),)) == (("x-request-id", "mine"), ("traceparent", "t"))
