"""What is known of a flight before it leaves, as Feast sees it.

Relative paths are those of the working copy that `examples/flights/materialise.py` makes: the bundle has no data.
"""

from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Float32, Float64, Int64, String


def source(name: str) -> FileSource:
    """The table of a view."""
    return FileSource(name=f"{name}_table", path=f"data/{name}.parquet", timestamp_field="event_timestamp")


origin = Entity(name="origin", join_keys=["origin"], value_type=ValueType.STRING, description="IATA code, e.g. EWR")
dest = Entity(name="dest", join_keys=["dest"], value_type=ValueType.STRING, description="IATA code, e.g. ORD")
carrier = Entity(name="carrier", join_keys=["carrier"], value_type=ValueType.STRING, description="IATA code, e.g. UA")
tailnum = Entity(name="tailnum", join_keys=["tailnum"], value_type=ValueType.STRING, description="e.g. N39463")

origin_conditions = FeatureView(
    name="origin_conditions",
    entities=[origin],
    ttl=timedelta(hours=3),
    description="Weather and congestion of each origin, hourly.",
    source=source("origin_conditions"),
    schema=[
        Field(name="origin", dtype=String),
        Field(name="temperature_fahrenheit", dtype=Float32, description="Air temperature, °F."),
        Field(name="humidity_percent", dtype=Float32, description="Relative humidity, 0 to 100."),
        Field(name="wind_direction_degrees", dtype=Float32, description="Where the wind comes from, 0 to 360."),
        Field(name="wind_speed_mph", dtype=Float32, description="Mean wind speed, mph."),
        Field(name="wind_gust_mph", dtype=Float32, description="Gusts, mph; the mean speed where there are none."),
        Field(name="precipitation_inches", dtype=Float32, description="Precipitation in the hour, inches."),
        Field(name="pressure_millibars", dtype=Float32, description="Pressure at sea level, mbar."),
        Field(name="visibility_miles", dtype=Float32, description="Visibility, 0 to 10 miles."),
        Field(
            name="origin_departure_delay_minutes_3h",
            dtype=Float64,
            description="Mean departure delay of the last 3 hours, minutes; early is negative.",
        ),
        Field(
            name="origin_late_departure_share_3h",
            dtype=Float64,
            description="Share of the last 3 hours' departures that were 15 minutes late or more, 0 to 1.",
        ),
        Field(
            name="origin_stranded_share_24h",
            dtype=Float64,
            description="Share of the last 24 hours' flights that had not left by their scheduled arrival, 0 to 1.",
        ),
    ],
)

carrier_performance = FeatureView(
    name="carrier_performance",
    entities=[carrier],
    ttl=timedelta(hours=3),
    description="How each carrier has been doing at New York, hourly.",
    source=source("carrier_performance"),
    schema=[
        Field(name="carrier", dtype=String),
        Field(
            name="carrier_departure_delay_minutes_3h",
            dtype=Float64,
            description="Mean departure delay of the last 3 hours, minutes; early is negative.",
        ),
        Field(
            name="carrier_departure_delay_minutes_24h",
            dtype=Float64,
            description="Mean departure delay of the last 24 hours, minutes; early is negative.",
        ),
        Field(
            name="carrier_arrival_delay_minutes_24h",
            dtype=Float64,
            description="Mean arrival delay of the last 24 hours, minutes; early is negative.",
        ),
        Field(name="carrier_late_share_24h", dtype=Float64, description="Share of late arrivals in 24 hours, 0 to 1."),
        Field(name="carrier_late_share_7d", dtype=Float64, description="Share of late arrivals in 7 days, 0 to 1."),
        Field(name="carrier_late_share_28d", dtype=Float64, description="Share of late arrivals in 28 days, 0 to 1."),
        Field(
            name="carrier_stranded_share_24h",
            dtype=Float64,
            description="Share of the last 24 hours' flights that had not left by their scheduled arrival, 0 to 1.",
        ),
        Field(name="carrier_departures_24h", dtype=Int64, description="Departures in the last 24 hours."),
    ],
)

route_performance = FeatureView(
    name="route_performance",
    entities=[origin, dest],
    ttl=timedelta(days=3),
    description="How each route has been doing, nightly.",
    source=source("route_performance"),
    schema=[
        Field(name="origin", dtype=String),
        Field(name="dest", dtype=String),
        Field(
            name="route_arrival_delay_minutes_7d",
            dtype=Float64,
            description="Mean arrival delay of 7 days, minutes; early is negative.",
        ),
        Field(
            name="route_arrival_delay_minutes_28d",
            dtype=Float64,
            description="Mean arrival delay of 28 days, minutes; early is negative.",
        ),
        Field(name="route_late_share_7d", dtype=Float64, description="Share of late arrivals in 7 days, 0 to 1."),
        Field(name="route_late_share_28d", dtype=Float64, description="Share of late arrivals in 28 days, 0 to 1."),
        Field(
            name="route_air_time_minutes_28d", dtype=Float64, description="Mean time in the air in 28 days, minutes."
        ),
        Field(name="route_arrivals_28d", dtype=Int64, description="Arrivals in the last 28 days."),
    ],
)

plane_history = FeatureView(
    name="plane_history",
    entities=[tailnum],
    ttl=timedelta(days=30),
    description="What each aircraft has been through, from the minute of each arrival on.",
    source=source("plane_history"),
    schema=[
        Field(name="tailnum", dtype=String),
        Field(name="plane_last_arrival_delay_minutes", dtype=Float32, description="Arrival delay of its last flight."),
        Field(
            name="plane_last_departure_delay_minutes", dtype=Float32, description="Departure delay of its last flight."
        ),
        Field(
            name="plane_arrival_delay_minutes_5", dtype=Float64, description="Mean arrival delay of its last 5 flights."
        ),
        Field(name="plane_late_share_20", dtype=Float64, description="Share of late arrivals in its last 20, 0 to 1."),
        Field(name="plane_flights_7d", dtype=Int64, description="Its arrivals from New York in 7 days."),
        Field(name="plane_age_years", dtype=Float32, description="Years since it was built."),
        Field(name="plane_seats", dtype=Float32, description="Seats."),
    ],
)

flight_delay_v1 = FeatureService(
    name="flight_delay_v1",
    features=[origin_conditions, carrier_performance, route_performance, plane_history],
    description="What the model flight-delay looks up.",
)
