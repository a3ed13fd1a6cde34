"""The mesh's clock as people write it and as the store keeps it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from predmesh_bundle.clock import (
    Clock,
    ClockError,
    FixedClock,
    FollowedClock,
    ShiftedClock,
    clock_from_json,
    clock_to_json,
    clock_to_text,
    parse_clock,
)

ZONES = st.timedeltas(timedelta(hours=-12), timedelta(hours=12))
CLOCKS = st.one_of(
    st.builds(Clock),
    st.builds(FixedClock, st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))),
    st.builds(ShiftedClock, st.integers(-(10**9), 10**9).map(float)),
)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2013-12-31T23:59:00Z", datetime(2013, 12, 31, 23, 59, tzinfo=UTC)),
        ("2013-12-31T23:59:00-05:00", datetime(2014, 1, 1, 4, 59, tzinfo=UTC)),
    ],
)
def test_a_fixed_clock_stands_still_in_utc(text: str, time: datetime) -> None:
    assert parse_clock(text).now() == time
    assert parse_clock(text).now().tzinfo is UTC


@pytest.mark.parametrize(("text", "seconds"), [("+3600s", 3600), ("-1s", -1), ("+0.5s", 0.5)])
def test_a_shifted_clock_runs_beside_the_systems(text: str, seconds: float) -> None:
    ahead = parse_clock(text).now() - datetime.now(UTC)
    assert abs(ahead.total_seconds() - seconds) < 1


@pytest.mark.parametrize(
    "text",
    ["", "now", "2013-12-31T23:59:00", "3600", "3600s", "+3600", "+1e9s", "2013-13-01T00:00:00Z", "+999999999999s"],
)
def test_what_is_no_clock_is_refused(text: str) -> None:
    with pytest.raises(ClockError):
        parse_clock(text)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"mode": "fixed"}', '{"mode": "fixed", "time": "x"}', '{"mode": "shifted", "seconds": "1"}'],
)
def test_a_damaged_file_is_refused(text: str) -> None:
    with pytest.raises(ClockError):
        clock_from_json(text)


@given(CLOCKS)
def test_a_clock_survives_the_store(clock: Clock) -> None:
    assert clock_to_json(clock_from_json(clock_to_json(clock))) == clock_to_json(clock)


@given(CLOCKS)
def test_a_clock_survives_being_written_down(clock: Clock) -> None:
    assert clock_to_json(parse_clock(clock_to_text(clock))) == clock_to_json(clock)


def test_a_followed_clock_shows_another() -> None:
    clock = FollowedClock()
    clock.follow(parse_clock("2013-12-31T23:59:00Z"))
    assert clock.now().year == 2013
