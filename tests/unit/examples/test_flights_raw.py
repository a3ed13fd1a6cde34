import zipfile
from datetime import UTC, datetime

import polars as pl

from examples.flights import raw


def hours_of_the_source() -> pl.Series:
    with zipfile.ZipFile(raw.data_folder() / "flights.csv.zip") as archive:
        column = pl.read_csv(archive.read("flights.csv"), columns=["time_hour"])["time_hour"]
    return column.str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC", time_unit="us")


def test_every_flight_is_there_and_has_its_times(flights: pl.DataFrame) -> None:
    assert flights.height == 336_776
    assert flights.select("scheduled_departure", "scheduled_arrival").null_count().row(0) == (0, 0)


def test_departures_are_in_the_hour_that_the_source_says_in_utc(flights: pl.DataFrame) -> None:
    assert (flights["scheduled_departure"].dt.truncate("1h") == hours_of_the_source()).all()


def test_schedules_last_as_long_as_flights_do(flights: pl.DataFrame) -> None:
    minutes = (flights["scheduled_arrival"] - flights["scheduled_departure"]).dt.total_minutes()
    assert minutes.is_between(50, 700).all()


def test_time_on_the_ground_is_never_negative(flights: pl.DataFrame) -> None:
    """Gate to gate takes longer than the time in the air: a wrong zone would be off by an hour."""
    ground = (pl.col("arrived") - pl.col("departed")).dt.total_minutes() - pl.col("air_time")
    found = sorted(flights.filter(pl.col("arrived").is_not_null()).select(ground).to_series())
    assert found[0] >= 0
    assert 20 < found[len(found) // 2] < 35


def test_the_night_when_clocks_are_set_back_is_counted_right(flights: pl.DataFrame) -> None:
    night = flights.filter(
        pl.col("scheduled_departure").is_between(
            datetime(2013, 11, 4, 1, tzinfo=UTC), datetime(2013, 11, 4, 5, tzinfo=UTC)
        ),
        pl.col("dest") == "MCO",
    )
    minutes = (night["scheduled_arrival"] - night["scheduled_departure"]).dt.total_minutes()
    assert night.height > 0
    assert minutes.is_between(150, 200).all()


def test_flights_without_an_arrival_have_no_label(flights: pl.DataFrame) -> None:
    assert flights.filter(pl.col("late").is_null()).height == 9_430
    assert (flights["late"].is_null() == flights["arrived"].is_null()).all()


def test_an_impossible_wind_is_unknown() -> None:
    weather = raw.read_weather(raw.data_folder())
    assert (weather["wind_speed"].drop_nulls() < raw.IMPOSSIBLE_WIND_MPH).all()
