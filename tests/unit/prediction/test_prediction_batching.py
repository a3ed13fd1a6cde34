"""Which rows travel together, decided without a loop."""

import asyncio
from contextvars import copy_context
from itertools import count
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from predmesh_frame import Frame
from predmesh_prediction.batching import SMALL_ROWS, Cut, Limits, Waiting, next_batch, shares
from predmesh_prediction.catalogue import limits_of

from tests.unit.prediction.prediction_fakes import DIGITS, FLIGHTS

NOW = 100.0


class Answered:
    """Stands for a future, which needs a loop."""

    def __init__(self, done: bool) -> None:
        self._done = done

    def done(self) -> bool:
        return self._done


def waiting(rows: int, expires: float = NOW + 1, sent: int = 0, gone: bool = False, caller: str = "") -> Waiting[str]:
    answered: asyncio.Future[Any] = Answered(gone)  # type: ignore[assignment]
    flow = (caller, rows > SMALL_ROWS)
    return Waiting(Frame(rows), NOW - 1, expires, 2.0, copy_context(), answered, flow, sent)


queues = st.lists(
    st.builds(
        lambda rows, late, gone, share, caller: waiting(rows, NOW - late, int(share * (rows - 1)), gone, caller),
        st.integers(1, 40),
        st.sampled_from([-1.0, -1.0, -1.0, 0.0, 1.0]),
        st.sampled_from([False, False, False, True]),
        st.floats(0, 1),
        st.sampled_from(["", "a", "b"]),
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
def test_who_is_gone_or_late_is_told_apart(queue: list[Waiting[str]], rows: int) -> None:
    found = cut(queue, rows)
    assert {id(each) for each in found.gone} == {id(each) for each in queue} - {id(each) for each in live(queue)}
    assert {id(each) for each in found.rest} <= {id(each) for each in live(queue)}


@given(queues, room)
def test_cut_after_cut_sends_every_live_row_once_and_in_the_order_of_its_request(
    queue: list[Waiting[str]], rows: int
) -> None:
    wanted = {(id(each), row) for each in live(queue) for row in range(each.sent, each.frame.rows)}
    sent: list[tuple[int, int]] = []
    rest = queue
    while (found := cut(rest, rows)).pieces:
        assert len({id(piece.waiting) for piece in found.pieces}) == len(found.pieces)
        for piece in found.pieces:
            assert piece.start == piece.waiting.sent
            sent += [(id(piece.waiting), row) for row in range(piece.start, piece.stop)]
            piece.waiting.sent = piece.stop
        rest = found.rest
    assert len(sent) == len(set(sent))
    assert set(sent) == wanted


wants = st.dictionaries(st.integers(0, 20), st.integers(0, 60), max_size=12)


@given(wants, st.integers(0, 200))
def test_shares_use_the_room_and_give_nobody_more_than_wanted(wanted: dict[int, int], rows: int) -> None:
    given_ = shares(wanted, rows)
    assert sum(given_.values()) == min(rows, sum(wanted.values()))
    assert all(given_[key] <= wanted[key] for key in wanted)


@given(wants, st.integers(0, 200))
def test_shares_of_those_who_lack_some_are_the_largest_and_differ_by_one(wanted: dict[int, int], rows: int) -> None:
    given_ = shares(wanted, rows)
    lacking = [given_[key] for key in wanted if given_[key] < wanted[key]]
    assert max(lacking, default=0) - min(lacking, default=0) <= 1
    assert max(given_.values(), default=0) <= min(lacking, default=10**9) + 1


def rows_of(found: Cut[str]) -> dict[int, int]:
    return {id(piece.waiting): piece.stop - piece.start for piece in found.pieces}


def batches_until(wanted: Waiting[str], queue: list[Waiting[str]], rows: int) -> int:
    """How many batches it takes until all of *wanted* has left."""
    for number in count(1):
        found = cut(queue, rows)
        for piece in found.pieces:
            piece.waiting.sent = piece.stop
        if wanted.sent == wanted.frame.rows:
            return number
        queue = found.rest
    raise AssertionError


@given(st.integers(1, 60), st.integers(33, 300), st.integers(0, 59))
def test_a_small_request_is_never_behind_large_ones(large: int, rows: int, place: int) -> None:
    small = waiting(1)
    queue = [waiting(rows) for _ in range(large)]
    queue.insert(min(place, large), small)
    assert batches_until(small, queue, 64) == 1


@given(st.integers(1, 5), st.integers(1, 40))
def test_a_large_request_gets_on_however_many_small_ones_come(parts: int, small: int) -> None:
    large = waiting(64 * parts)
    queue = [waiting(1) for _ in range(small)] + [large]
    for _ in range(2 * parts):
        found = cut(queue, 64)
        for piece in found.pieces:
            piece.waiting.sent = piece.stop
        queue = found.rest + [waiting(1) for _ in range(small)]
    assert large.sent == large.frame.rows


def test_a_caller_with_much_does_not_starve_one_with_little() -> None:
    greedy = [waiting(1, caller="greedy") for _ in range(500)]
    modest = [waiting(1, caller="modest") for _ in range(5)]
    found = rows_of(cut(greedy + modest, 64))
    assert sum(found.get(id(each), 0) for each in modest) == 5
    assert len(found) == 64


def test_more_callers_than_rows_take_turns() -> None:
    each = {caller: [waiting(1, caller=caller) for _ in range(3)] for caller in "abcde"}
    queue = [one for ones in zip(*each.values(), strict=True) for one in ones]
    served: list[str] = []
    while (found := cut(queue, 2)).pieces:
        served += [piece.waiting.flow[0] for piece in found.pieces]
        for piece in found.pieces:
            piece.waiting.sent = piece.stop
        queue = found.rest
    assert served == [*"abcdeabcdeabcde"]


def test_a_very_large_request_takes_turns_with_others_of_its_caller() -> None:
    huge, other = waiting(10_000), waiting(300)
    assert batches_until(other, [huge, other], 1024) == 1
    huge, others = waiting(10_000), [waiting(300) for _ in range(8)]
    assert batches_until(others[-1], [huge, *others], 1024) <= 4


def test_whole_requests_are_first_come_first_served() -> None:
    queue = [waiting(100) for _ in range(5)]
    found = cut(queue, 400)
    assert [piece.waiting for piece in found.pieces] == queue[:4]
    assert found.rest == queue[4:]


def test_a_request_that_the_end_of_a_batch_cuts_leads_the_next_of_its_flow() -> None:
    queue = [waiting(100) for _ in range(5)]
    found = cut(queue, 450)
    assert [(piece.start, piece.stop) for piece in found.pieces] == [(0, 100)] * 4 + [(0, 50)]
    assert found.rest == [queue[4]]


def test_a_bundle_allows_smaller_batches_and_its_rows_say_how_many_may_wait() -> None:
    found = limits_of(FLIGHTS, Limits(max_batch_rows=1024, max_queue_rows=20_000, max_queue_bytes=2**20))
    assert found.max_batch_rows == FLIGHTS.inference.max_batch_rows == 64
    # Four texts, a time and a double.
    assert found.max_queue_rows == 2**20 // (4 * 64 + 8 + 8)
    assert limits_of(DIGITS, Limits(max_queue_bytes=2**30)).max_queue_rows == 20_000
    assert limits_of(DIGITS, Limits(max_queue_bytes=160)).max_queue_rows == 10
