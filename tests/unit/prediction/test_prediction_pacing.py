"""How many batches travel at once, decided on simulated servers."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from predmesh_prediction.pacing import GAIN, Tempo, Window, climb, departure

from tests.unit.prediction.simulated_server import Simulation, Speeds, elsewhere, lanes, one_processor

ONE = Window(0.01, 0.005, 100)

few = settings(max_examples=6, derandomize=True, deadline=None)
lefts = st.lists(st.floats(0, 100), max_size=10).map(sorted)
tempos = st.builds(
    lambda most, share, usual, more: Tempo(most, max(1, int(most * share)), usual, usual, usual + more),
    st.integers(1, 8),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0, 1),
)


@given(tempos)
def test_where_nothing_travels_a_batch_leaves_at_once(tempo: Tempo) -> None:
    assert departure([], tempo) == -math.inf


@given(lefts, tempos)
def test_no_more_travel_than_may_whatever_happens(lefts: list[float], tempo: Tempo) -> None:
    assert len(lefts) < tempo.most or departure(lefts, tempo) == math.inf


@given(lefts.filter(bool), tempos)
def test_a_batch_that_is_late_lets_another_go(lefts: list[float], tempo: Tempo) -> None:
    assert len(lefts) >= tempo.most or departure(lefts, tempo) <= lefts[-1] + max(tempo.patience, tempo.usual)


@given(lefts.filter(bool), tempos)
def test_who_is_allowed_keeps_a_distance_and_no_more(lefts: list[float], tempo: Tempo) -> None:
    if len(lefts) < min(tempo.allowed, tempo.most):
        assert departure(lefts, tempo) == lefts[-1] + tempo.usual / tempo.allowed


@given(st.integers(1, 16), st.lists(st.tuples(st.floats(1e-6, 10), st.floats(0, 1)), max_size=400))
def test_what_is_allowed_stays_within_its_bounds(most: int, fared: list[tuple[float, float]]) -> None:
    climbing = climb(most)
    allowed = [next(climbing)] + [climbing.send(Window(seconds, seconds * share, 100)) for seconds, share in fared]
    assert all(1 <= each <= most for each in allowed)


def settled(most: int, seconds: dict[int, float], rates: dict[int, float] | None = None, waited: float = 0.5) -> int:
    """What is allowed most of the time where requests take so long, and so many end, by what is allowed."""
    climbing = climb(most)
    allowed = [next(climbing)]
    for _ in range(2000):
        now = allowed[-1]
        allowed.append(climbing.send(Window(seconds[now], waited * seconds[now], rates[now] if rates else 100)))
    return max(set(allowed[-500:]), key=allowed[-500:].count)


def test_more_in_flight_must_save_time() -> None:
    gain = 1 - 2 * GAIN
    assert settled(8, {1: 1, 2: gain, 4: gain**2, 8: gain**3}) == 8
    assert settled(8, {1: 1, 2: gain, 4: gain * 1.01, 8: 1}) == 2
    assert settled(8, {1: 1, 2: 1 - GAIN / 2, 4: 1, 8: 1}) == 1


def test_time_saved_may_not_cost_the_rate() -> None:
    sooner = {1: 1.0, 2: 0.6, 4: 0.4}
    assert settled(4, sooner, {1: 100, 2: 98, 4: 90}) == 2
    assert settled(4, sooner, {1: 100, 2: 85, 4: 70}) == 1


def test_fewer_are_better_where_they_let_more_through() -> None:
    climbing = climb(2)
    next(climbing)
    allowed = [1]
    for _ in range(60):  # two save time, at first
        allowed.append(climbing.send(Window(1 / allowed[-1], 0.5, 100)))
    assert allowed[-1] == 2
    for _ in range(60):  # and still do, but now they cost the rate
        allowed.append(climbing.send(Window(1 / allowed[-1], 0.5, 100 / allowed[-1])))
    assert allowed[-20:].count(1) > 12


def test_where_nobody_waits_nothing_is_tried() -> None:
    climbing = climb(8)
    next(climbing)
    assert {climbing.send(Window(0.01, 0.0001, 100)) for _ in range(500)} == {1}


def test_trials_that_are_of_no_use_become_rare() -> None:
    climbing = climb(8)
    allowed = [next(climbing)] + [climbing.send(ONE) for _ in range(3000)]
    assert allowed[:100].count(2) >= 4
    assert allowed[-1000:].count(2) <= 20


def test_a_load_that_drifts_moves_nothing() -> None:
    climbing = climb(8)
    allowed = [next(climbing)]
    for at in range(3000):
        seconds = 0.01 * 0.97 ** (at % 100)
        allowed.append(climbing.send(Window(seconds, seconds / 2, 1 / seconds)))
    assert allowed.count(1) > 0.9 * len(allowed)


@few
@given(st.integers(2, 64), st.floats(0.0005, 0.01), st.floats(0, 0.0002))
def test_on_a_processor_of_its_own_one_batch_travels(callers: int, batch: float, row: float) -> None:
    assert Simulation(callers, one_processor, batch, row).run(3000).mean_allowed < 1.2


@few
@given(st.integers(4, 64), st.floats(0.005, 0.1), st.floats(0, 0.0001))
def test_a_stage_that_works_elsewhere_gets_more_batches(callers: int, batch: float, row: float) -> None:
    alone = Simulation(callers, elsewhere, batch, row, most=1).run(1000)
    free = Simulation(callers, elsewhere, batch, row).run(3000)
    assert free.mean_allowed > 1.9
    assert free.rows_per_second > 1.2 * alone.rows_per_second


@pytest.mark.parametrize("number", [2, 4])
def test_what_travels_follows_the_lanes_of_a_server(number: int) -> None:
    assert Simulation(32, lanes(number), 0.01, 0.0001).run(4000).mean_allowed == pytest.approx(number, rel=0.25)


@pytest.mark.parametrize("speeds", [one_processor, elsewhere])
def test_a_caller_alone_never_waits(speeds: Speeds) -> None:
    took = Simulation(1, speeds, 0.004, 0.0).run(500).seconds
    assert max(took) == pytest.approx(0.004)


@pytest.mark.parametrize("speeds", [elsewhere, lanes(4)])
def test_a_slow_batch_holds_up_those_in_it_and_nobody_else(speeds: Speeds) -> None:
    found = Simulation(32, speeds, 0.005, 0.0, slow={100: 2.0, 101: 2.0, 400: 2.0}).run(3000)
    assert found.slowed > 0
    assert sum(seconds > 0.1 for seconds in found.seconds) == found.slowed


def test_with_one_allowed_whatever_happens_a_slow_batch_holds_up_all() -> None:
    found = Simulation(32, elsewhere, 0.005, 0.0, most=1, slow={100: 2.0}).run(1000)
    assert sum(seconds > 0.1 for seconds in found.seconds) > found.slowed
