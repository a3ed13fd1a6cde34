"""Which rows travel together, decided without a loop."""

import asyncio
from contextvars import copy_context
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from predmesh_frame import Frame
from predmesh_prediction.batching import Cut, Limits, Waiting, next_batch

NOW = 100.0


class Answered:
    """Stands for a future, which needs a loop."""

    def __init__(self, done: bool) -> None:
        self._done = done

    def done(self) -> bool:
        return self._done


def waiting(rows: int, expires: float = NOW + 1, sent: int = 0, gone: bool = False) -> Waiting[str]:
    answered: asyncio.Future[Any] = Answered(gone)  # type: ignore[assignment]
    return Waiting(Frame(rows), NOW - 1, expires, copy_context(), answered, sent)


queues = st.lists(
    st.builds(
        lambda rows, late, gone, share: waiting(rows, NOW - late, int(share * (rows - 1)), gone),
        st.integers(1, 40),
        st.sampled_from([-1.0, -1.0, -1.0, 0.0, 1.0]),
        st.sampled_from([False, False, False, True]),
        st.floats(0, 1),
    ),
    max_size=12,
)
room = st.integers(1, 50)


def live(queue: list[Waiting[str]]) -> list[Waiting[str]]:
    return [each for each in queue if not each.answered.done() and each.expires > NOW]


def cut(queue: list[Waiting[str]], rows: int) -> Cut[str]:
    return next_batch(queue, NOW, Limits(max_batch_rows=rows))


@given(queues, room)
def test_a_batch_never_exceeds_its_limit(queue: list[Waiting[str]], rows: int) -> None:
    assert sum(piece.stop - piece.start for piece in cut(queue, rows).pieces) <= rows


@given(queues, room)
def test_a_batch_is_full_unless_the_queue_is_empty(queue: list[Waiting[str]], rows: int) -> None:
    found = cut(queue, rows)
    waited = sum(each.frame.rows - each.sent for each in live(queue))
    assert sum(piece.stop - piece.start for piece in found.pieces) == min(rows, waited)


@given(queues, room)
def test_who_is_gone_or_late_does_not_travel(queue: list[Waiting[str]], rows: int) -> None:
    assert {id(piece.waiting) for piece in cut(queue, rows).pieces} <= {id(each) for each in live(queue)}


@given(queues, room)
def test_the_order_is_that_of_arrival(queue: list[Waiting[str]], rows: int) -> None:
    found = cut(queue, rows)
    order = [id(piece.waiting) for piece in found.pieces] + [id(each) for each in live(found.rest)]
    assert list(dict.fromkeys(order)) == [id(each) for each in live(queue)]


@given(queues, room)
def test_cut_after_cut_sends_every_live_row_once_and_in_order(queue: list[Waiting[str]], rows: int) -> None:
    wanted = [(id(each), row) for each in live(queue) for row in range(each.sent, each.frame.rows)]
    sent: list[tuple[int, int]] = []
    rest = queue
    while (found := cut(rest, rows)).pieces:
        for piece in found.pieces:
            sent += [(id(piece.waiting), row) for row in range(piece.start, piece.stop)]
            piece.waiting.sent = piece.stop
        rest = found.rest
    assert sent == wanted


def test_a_large_request_is_split_and_leads_the_next_batch() -> None:
    large, small = waiting(5), waiting(1)
    found = cut([large, small], 3)
    assert [(piece.start, piece.stop) for piece in found.pieces] == [(0, 3)]
    assert found.rest == [large, small]
