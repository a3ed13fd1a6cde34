"""Builds the feature tables: what could be known, and from when on.

Every table has its join keys, its features and `event_timestamp`: the earliest time at which its row could have been
known. A flight's delay counts from the minute it is over, never before its own scheduled departure, and an hourly row
holds only what happened *before* its hour, so that a join at the scheduled departure sees nothing of the flight itself.
`(join keys, event_timestamp)` is unique, so no join has a tie to break.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta

import polars as pl
from predmesh_bundle.read_plan import FeatureType, ViewPlan

HOUR, DAY = timedelta(hours=1), timedelta(days=1)

POLARS_TYPES: dict[FeatureType, pl.DataType] = {
    FeatureType.FLOAT: pl.Float32(),
    FeatureType.DOUBLE: pl.Float64(),
    FeatureType.INT64: pl.Int64(),
}

# 08:00 UTC is night in New York all year: no departure before 05:00.
NIGHTLY_OFFSET = timedelta(hours=8)


def of_views(flights: pl.DataFrame, weather: pl.DataFrame, planes: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The table of each feature view, by the view's name."""
    return {
        "origin_conditions": origin_conditions(flights, weather),
        "carrier_performance": carrier_performance(flights),
        "route_performance": route_performance(flights),
        "plane_history": plane_history(flights, planes),
    }


def typed(table: pl.DataFrame, view: ViewPlan) -> pl.DataFrame:
    """The table in the types of its view: what Feast stores is what training sees."""
    keys = [key.column for key in view.join_keys]
    features = [pl.col(feature.name).cast(POLARS_TYPES[feature.type]) for feature in view.features]
    return table.select(*keys, "event_timestamp", *features)


def departures(flights: pl.DataFrame) -> pl.DataFrame:
    """One row a departure, `known` when the aircraft has left and its schedule has passed."""
    return flights.filter(pl.col("departed").is_not_null()).with_columns(
        pl.max_horizontal("departed", "scheduled_departure").alias("known"),
        (pl.col("departure_delay") >= 15).cast(pl.Int64).alias("late_departure"),
    )


def arrivals(flights: pl.DataFrame) -> pl.DataFrame:
    """One row an arrival, `known` when the aircraft has arrived (and its scheduled departure has passed)."""
    after_departure = pl.col("scheduled_departure") + pl.duration(minutes=1)
    return flights.filter(pl.col("arrived").is_not_null()).with_columns(
        pl.max_horizontal("arrived", after_departure).alias("known"), pl.col("late").cast(pl.Int64)
    )


def schedule(flights: pl.DataFrame) -> pl.DataFrame:
    """One row a flight, `known` at its scheduled arrival: whether it was still `stranded` at its origin by then."""
    left = (pl.col("departed") <= pl.col("scheduled_arrival")).fill_null(False)
    return flights.with_columns(pl.col("scheduled_arrival").alias("known"), (~left).cast(pl.Int64).alias("stranded"))


def origin_conditions(flights: pl.DataFrame, weather: pl.DataFrame) -> pl.DataFrame:
    """Weather and congestion of each origin, hourly.

    An observation is known an hour after the hour it is labelled with: its minute is not in the source.
    """
    queue = windows(departures(flights), ["origin"], {"departure_delay": [3], "late_departure": [3]}, every=HOUR)
    stranded = windows(schedule(flights), ["origin"], {"stranded": [24]}, every=HOUR)
    keys = ["origin", "event_timestamp"]
    return (
        weather.with_columns((pl.col("observed") + HOUR).alias("event_timestamp"))
        .join(queue, on=keys, how="left")
        .join(stranded, on=keys, how="left")
        .select(
            *keys,
            pl.col("temp").alias("temperature_fahrenheit"),
            pl.col("humid").alias("humidity_percent"),
            pl.col("wind_dir").alias("wind_direction_degrees"),
            pl.col("wind_speed").alias("wind_speed_mph"),
            # No gust is reported when there is none.
            pl.coalesce("wind_gust", "wind_speed").alias("wind_gust_mph"),
            pl.col("precip").alias("precipitation_inches"),
            pl.col("pressure").alias("pressure_millibars"),
            pl.col("visib").alias("visibility_miles"),
            pl.col("departure_delay_mean_3").alias("origin_departure_delay_minutes_3h"),
            pl.col("late_departure_mean_3").alias("origin_late_departure_share_3h"),
            pl.col("stranded_mean_24").alias("origin_stranded_share_24h"),
        )
        .sort(keys)
    )


def carrier_performance(flights: pl.DataFrame) -> pl.DataFrame:
    """How each carrier has been doing at New York, hourly."""
    left = windows(departures(flights), ["carrier"], {"departure_delay": [3, 24]}, every=HOUR)
    arrived = windows(arrivals(flights), ["carrier"], {"arrival_delay": [24], "late": [24, 168, 672]}, every=HOUR)
    stranded = windows(schedule(flights), ["carrier"], {"stranded": [24]}, every=HOUR)
    keys = ["carrier", "event_timestamp"]
    return (
        left.join(arrived, on=keys, how="inner", suffix="_arrived")
        .join(stranded, on=keys, how="inner", suffix="_stranded")
        .select(
            *keys,
            pl.col("departure_delay_mean_3").alias("carrier_departure_delay_minutes_3h"),
            pl.col("departure_delay_mean_24").alias("carrier_departure_delay_minutes_24h"),
            pl.col("arrival_delay_mean_24").alias("carrier_arrival_delay_minutes_24h"),
            pl.col("late_mean_24").alias("carrier_late_share_24h"),
            pl.col("late_mean_168").alias("carrier_late_share_7d"),
            pl.col("late_mean_672").alias("carrier_late_share_28d"),
            pl.col("stranded_mean_24").alias("carrier_stranded_share_24h"),
            pl.col("count_24").alias("carrier_departures_24h"),
        )
        .sort(keys)
    )


def route_performance(flights: pl.DataFrame) -> pl.DataFrame:
    """How each route has been doing, nightly."""
    keys = ["origin", "dest", "event_timestamp"]
    columns: dict[str, list[int]] = {"arrival_delay": [7, 28], "late": [7, 28], "air_time": [28]}
    return (
        windows(arrivals(flights), ["origin", "dest"], columns, every=DAY, offset=NIGHTLY_OFFSET)
        .select(
            *keys,
            pl.col("arrival_delay_mean_7").alias("route_arrival_delay_minutes_7d"),
            pl.col("arrival_delay_mean_28").alias("route_arrival_delay_minutes_28d"),
            pl.col("late_mean_7").alias("route_late_share_7d"),
            pl.col("late_mean_28").alias("route_late_share_28d"),
            pl.col("air_time_mean_28").alias("route_air_time_minutes_28d"),
            pl.col("count_28").alias("route_arrivals_28d"),
        )
        .sort(keys)
    )


def plane_history(flights: pl.DataFrame, planes: pl.DataFrame) -> pl.DataFrame:
    """What each aircraft has been through: a row an arrival, known from that minute on."""
    keys = ["tailnum", "event_timestamp"]
    by_arrival = (
        arrivals(flights)
        .filter(pl.col("tailnum").is_not_null())
        .sort("tailnum", "known", "scheduled_departure", "flight_id")
        .with_columns(pl.col("known").alias("event_timestamp"), pl.lit(1, pl.Int64).alias("one"))
    )
    recent = by_arrival.with_columns(
        pl.col("one").rolling_sum_by("event_timestamp", "7d").over("tailnum").alias("flights"),
        _last(pl.col("arrival_delay"), 5).alias("plane_arrival_delay_minutes_5"),
        _last(pl.col("late"), 20).alias("plane_late_share_20"),
    ).unique(keys, keep="last", maintain_order=True)
    return (
        recent.join(planes, on="tailnum", how="left")
        .select(
            *keys,
            pl.col("arrival_delay").cast(pl.Float64).alias("plane_last_arrival_delay_minutes"),
            pl.col("departure_delay").cast(pl.Float64).alias("plane_last_departure_delay_minutes"),
            "plane_arrival_delay_minutes_5",
            "plane_late_share_20",
            pl.col("flights").alias("plane_flights_7d"),
            (pl.col("scheduled_departure").dt.year() - pl.col("built_year")).cast(pl.Float64).alias("plane_age_years"),
            pl.col("seats").cast(pl.Float64).alias("plane_seats"),
        )
        .sort(keys)
    )


def windows(
    events: pl.DataFrame,
    keys: Sequence[str],
    columns: dict[str, list[int]],
    *,
    every: timedelta,
    offset: timedelta = timedelta(0),
) -> pl.DataFrame:
    """Means over the last *n* periods at each period's end, for every key that has been seen by then.

    Args:
        events: a row an event, with `known`.
        keys: what to group by.
        columns: integer columns, and the lengths of their windows in periods.
        every: the period.
        offset: from midnight UTC to the first period's start.

    Returns:
        The keys, `event_timestamp` T, `<column>_mean_<n>` over events known in [T - n * every, T) (null without events)
        and `count_<n>`. Sums of integers: the means do not depend on the order of events.
    """
    names = list(columns)
    binned = (
        events.with_columns(
            (pl.col("known").dt.offset_by(_negative(offset)).dt.truncate(every) + offset + every).alias(
                "event_timestamp"
            )
        )
        .group_by(*keys, "event_timestamp")
        .agg(pl.len().cast(pl.Int64).alias("count"), *(pl.col(name).cast(pl.Int64).sum() for name in names))
    )
    grid = _grid(binned, keys, every)
    running = (
        grid.join(binned, on=[*keys, "event_timestamp"], how="left")
        .sort(*keys, "event_timestamp")
        .with_columns(pl.col("count", *names).fill_null(0).cum_sum().over(keys))
    )
    lengths = sorted({length for values in columns.values() for length in values})
    counts = [_within("count", length, keys).alias(f"count_{length}") for length in lengths]
    means = [_mean(name, length, keys).alias(f"{name}_mean_{length}") for name in names for length in columns[name]]
    return running.select(*keys, "event_timestamp", *counts, *means)


def _grid(binned: pl.DataFrame, keys: Sequence[str], every: timedelta) -> pl.DataFrame:
    """Every key at every period from its first event to the end of the data."""
    last = binned["event_timestamp"].max()
    spans = binned.group_by(*keys).agg(pl.col("event_timestamp").min().alias("first"))
    times = pl.datetime_ranges("first", pl.lit(last), interval=every).alias("event_timestamp")
    return spans.select(*keys, times).explode("event_timestamp", empty_as_null=False)


def _within(column: str, length: int, keys: Iterable[str]) -> pl.Expr:
    return pl.col(column) - pl.col(column).shift(length).over(keys).fill_null(0)


def _mean(column: str, length: int, keys: Iterable[str]) -> pl.Expr:
    count = _within("count", length, keys)
    return pl.when(count > 0).then(_within(column, length, keys) / count)


def _last(column: pl.Expr, length: int) -> pl.Expr:
    """Mean of an aircraft's last *length* flights, of fewer in the beginning."""
    total = column.cast(pl.Int64).cum_sum().over("tailnum")
    number = pl.int_range(1, pl.len() + 1).over("tailnum")
    before = total.shift(length).over("tailnum").fill_null(0)
    return (total - before) / pl.min_horizontal(number, pl.lit(length))


def _negative(offset: timedelta) -> str:
    return f"-{int(offset.total_seconds())}s"
