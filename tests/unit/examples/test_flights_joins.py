from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from predmesh_bundle.read_plan import FeaturePlan, FeatureType, JoinKey, ViewPlan

from examples.flights.joins import point_in_time_join

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)
VIEW = ViewPlan(
    name="speeds",
    alias="speeds",
    join_keys=(JoinKey(name="key", type=FeatureType.STRING, column="key"),),
    ttl_seconds=3600,
    features=(
        FeaturePlan(name="speed", type=FeatureType.DOUBLE),
        FeaturePlan(name="count", type=FeatureType.INT64, default=7),
    ),
)


def joined(asked: list[tuple[str | None, float]], known: list[tuple[str, float, float | None]]) -> list[float | None]:
    """Speeds of the keys asked for at minutes from noon, of a table of (key, minute, speed)."""
    schema = {"key": pl.String, "minute": pl.Float64}
    rows = at(pl.DataFrame(asked, {**schema}, orient="row"), "time")
    table = at(pl.DataFrame(known, {**schema, "speed": pl.Float64}, orient="row"), "event_timestamp")
    table = table.with_columns(count=pl.lit(1, pl.Int64))
    found = point_in_time_join(rows, {"speeds": table}, [VIEW], time="time")
    assert found["key"].to_list() == [key for key, _ in asked]
    return found["speed"].to_list()


def at(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    times = [NOON + timedelta(minutes=minute) for minute in frame["minute"]]
    return frame.with_columns(pl.Series(name, times, pl.Datetime("us", "UTC")))


def test_the_newest_row_up_to_the_time_wins() -> None:
    assert joined([("a", 0)], [("a", -20, 1.0), ("a", -10, 2.0), ("a", 1, 3.0), ("b", -1, 4.0)]) == [2.0]


def test_a_row_of_the_same_time_counts() -> None:
    assert joined([("a", 0)], [("a", -1, 1.0), ("a", 0, 2.0)]) == [2.0]


@pytest.mark.parametrize(("minute", "speed"), [(60, 1.0), (60.0001, None)], ids=["as old as the ttl", "older"])
def test_a_row_older_than_the_ttl_is_missing(minute: float, speed: float | None) -> None:
    assert joined([("a", minute)], [("a", 0, 1.0)]) == [speed]


def test_an_old_row_is_not_stood_in_for_by_one_older_still() -> None:
    assert joined([("a", 0)], [("a", -10, None), ("a", -20, 1.0)]) == [None]


def test_unknown_keys_and_null_keys_keep_their_rows() -> None:
    assert joined([("z", 0), (None, 0), ("a", 0)], [("a", 0, 1.0)]) == [None, None, 1.0]


def test_a_missing_value_becomes_its_default() -> None:
    rows = at(pl.DataFrame({"key": ["z"], "minute": [0.0]}), "time")
    table = at(pl.DataFrame({"key": ["a"], "minute": [0.0], "speed": [1.0], "count": [3]}), "event_timestamp")
    assert point_in_time_join(rows, {"speeds": table}, [VIEW], time="time")["count"].to_list() == [7]


keys, minutes = st.sampled_from("abc"), st.integers(-200, 200).map(float)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(keys, minutes), min_size=1, max_size=20),
    st.lists(st.tuples(keys, minutes), max_size=20, unique=True),
)
def test_it_is_what_a_search_through_all_rows_finds(
    asked: list[tuple[str, float]], known: list[tuple[str, float]]
) -> None:
    table = [(key, minute, float(number)) for number, (key, minute) in enumerate(known)]

    def search(key: str, minute: float) -> float | None:
        past = [(when, speed) for name, when, speed in table if name == key and when <= minute]
        when, speed = max(past, default=(-1e9, 0.0))
        return speed if minute - when <= 60 else None

    assert joined([*asked], [*table]) == [search(key, minute) for key, minute in asked]
