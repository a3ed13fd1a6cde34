"""Nothing that happens from a time on changes what was known before it: on real flights, by changing the future."""

from datetime import UTC, datetime, timedelta
from statistics import fmean

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from examples.flights import raw, tables

CUT = datetime(2013, 2, 9, 15, tzinfo=UTC)


@pytest.fixture(scope="module")
def winter(flights: pl.DataFrame) -> pl.DataFrame:
    """January and half of February, with the snowstorm of 8 and 9 February."""
    return flights.filter(pl.col("scheduled_departure") < datetime(2013, 2, 15, tzinfo=UTC))


def built(flights: pl.DataFrame) -> dict[str, pl.DataFrame]:
    folder = raw.data_folder()
    return tables.of_views(flights, raw.read_weather(folder), raw.read_planes(folder))


def with_another_future(flights: pl.DataFrame) -> pl.DataFrame:
    """Whatever happens at CUT or later happens three hours later still, and not at all to every third flight."""
    later = timedelta(hours=3)
    departs, arrives = pl.col("departed") >= CUT, pl.col("arrived") >= CUT
    cancelled = departs & (pl.col("flight_id") % 3 == 0) & (pl.col("scheduled_arrival") >= CUT)
    return flights.with_columns(
        pl.when(cancelled)
        .then(None)
        .when(departs)
        .then(pl.col("departed") + later)
        .otherwise("departed")
        .alias("departed"),
        pl.when(cancelled)
        .then(None)
        .when(arrives)
        .then(pl.col("arrived") + later)
        .otherwise("arrived")
        .alias("arrived"),
        pl.when(departs).then(pl.col("departure_delay") + 180).otherwise("departure_delay").alias("departure_delay"),
        pl.when(arrives).then(pl.col("arrival_delay") + 180).otherwise("arrival_delay").alias("arrival_delay"),
        pl.when(arrives).then(True).otherwise("late").alias("late"),
        pl.when(arrives).then(pl.col("air_time") + 60).otherwise("air_time").alias("air_time"),
    )


@pytest.mark.parametrize("view", ["origin_conditions", "carrier_performance", "route_performance", "plane_history"])
def test_the_future_changes_nothing_that_was_known(winter: pl.DataFrame, view: str) -> None:
    known = pl.col("event_timestamp") <= CUT
    before, after = built(winter)[view], built(with_another_future(winter))[view]
    # The flights that leave or arrive at the very minute of the cut belong to what follows it.
    strictly = pl.col("event_timestamp") < CUT if view == "plane_history" else known
    assert_frame_equal(before.filter(strictly), after.filter(strictly))
    assert before.filter(strictly).height > 100
    assert not before.equals(after)


def test_no_row_is_known_before_its_flight_should_leave(winter: pl.DataFrame) -> None:
    left = tables.departures(winter)
    assert left.filter(pl.col("known") < pl.col("scheduled_departure")).is_empty()
    assert left.filter(pl.col("departed") < pl.col("scheduled_departure")).height > 1000
    landed = tables.arrivals(winter)
    assert landed.filter(pl.col("known") <= pl.col("scheduled_departure")).is_empty()


def test_a_flight_that_leaves_early_does_not_reveal_itself() -> None:
    ten = datetime(2013, 7, 1, 10, tzinfo=UTC)
    early = pl.DataFrame({"carrier": ["UA"], "known": [ten], "departure_delay": [-9]})
    other = pl.DataFrame({"carrier": ["UA"], "known": [ten + timedelta(minutes=40)], "departure_delay": [5]})
    found = tables.windows(pl.concat([early, other]), ["carrier"], {"departure_delay": [1]}, every=tables.HOUR)
    assert found.rows() == [("UA", ten + timedelta(hours=1), 2, -2.0)]


def test_windows_end_before_their_time_and_forget_what_is_older() -> None:
    ten = datetime(2013, 7, 1, 10, tzinfo=UTC)
    minutes = {0: 10, 59: 20, 60: 30, 180: 40}
    events = pl.DataFrame(
        {
            "key": ["a"] * 4,
            "known": [ten + timedelta(minutes=minute) for minute in minutes],
            "delay": list(minutes.values()),
        }
    )
    found = tables.windows(events, ["key"], {"delay": [1, 2]}, every=tables.HOUR)
    assert found.select("delay_mean_1", "delay_mean_2", "count_2").rows() == [
        (15.0, 15.0, 2),
        (30.0, 20.0, 3),
        (None, 30.0, 1),
        (40.0, 40.0, 1),
    ]


def test_nightly_rows_end_at_their_offset() -> None:
    night = datetime(2013, 7, 2, 8, tzinfo=UTC)
    events = pl.DataFrame({"key": ["a", "a"], "known": [night - timedelta(minutes=1), night], "late": [1, 0]})
    found = tables.windows(events, ["key"], {"late": [1]}, every=tables.DAY, offset=tables.NIGHTLY_OFFSET)
    assert found.rows() == [("a", night, 1, 1.0), ("a", night + timedelta(days=1), 1, 0.0)]


def test_a_planes_means_are_over_its_last_flights(winter: pl.DataFrame) -> None:
    tail = "N328AA"
    landed = tables.arrivals(winter).filter(tailnum=tail).sort("known").rows(named=True)
    newest = landed[-1]["known"]
    last = tables.plane_history(winter, raw.read_planes(raw.data_folder())).filter(tailnum=tail).row(-1, named=True)
    assert last["event_timestamp"] == newest
    assert last["plane_arrival_delay_minutes_5"] == pytest.approx(fmean(row["arrival_delay"] for row in landed[-5:]))
    assert last["plane_late_share_20"] == pytest.approx(fmean(row["late"] for row in landed[-20:]))
    assert last["plane_flights_7d"] == sum(row["known"] > newest - timedelta(days=7) for row in landed)


def test_no_view_has_two_rows_of_one_time(flights: pl.DataFrame) -> None:
    join_keys = {
        "origin_conditions": ["origin"],
        "carrier_performance": ["carrier"],
        "route_performance": ["origin", "dest"],
        "plane_history": ["tailnum"],
    }
    for view, table in built(flights).items():
        assert not table.select(*join_keys[view], "event_timestamp").is_duplicated().any(), view
        assert table["event_timestamp"].null_count() == 0
