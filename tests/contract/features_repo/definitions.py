"""Every kind of view and value that Predmesh serves."""

from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    Float32,
    Float64,
    Int32,
    Int64,
    Json,
    String,
    TimeUuid,
    UnixTimestamp,
    Uuid,
)

source = FileSource(name="nothing", path="nothing.parquet", timestamp_field="event_timestamp")
customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
region = Entity(name="region", value_type=ValueType.STRING)
day = Entity(name="day", join_keys=["day_number"], value_type=ValueType.INT32)
token = Entity(name="token", value_type=ValueType.BYTES)
moment = Entity(name="moment", value_type=ValueType.UNIX_TIMESTAMP)

everything = FeatureView(
    name="everything",
    entities=[customer],
    ttl=timedelta(0),
    source=source,
    schema=[
        Field(name="a_bool", dtype=Bool),
        Field(name="an_int32", dtype=Int32, description="small"),
        Field(name="an_int64", dtype=Int64),
        Field(name="a_float", dtype=Float32),
        Field(name="another_float", dtype=Float32),
        Field(name="a_double", dtype=Float64),
        Field(name="a_string", dtype=String),
        Field(name="some_bytes", dtype=Bytes),
        Field(name="a_time", dtype=UnixTimestamp),
        Field(name="a_document", dtype=Json),
        Field(name="a_uuid", dtype=Uuid),
        Field(name="a_time_uuid", dtype=TimeUuid),
        Field(name="a_decimal", dtype=Decimal),
    ],
)
weather = FeatureView(
    name="weather",
    entities=[region, day],
    ttl=timedelta(hours=6),
    source=source,
    schema=[Field(name="temperature", dtype=Float64), Field(name="wind", dtype=Float32)],
)
customers = FeatureView(
    name="customers",
    entities=[customer],
    ttl=timedelta(days=1),
    source=source,
    schema=[Field(name="visits", dtype=Int64), Field(name="segment", dtype=String), Field(name="spent", dtype=Float64)],
)
tokens = FeatureView(name="tokens", entities=[token], source=source, schema=[Field(name="uses", dtype=Int32)])
moments = FeatureView(name="moments", entities=[moment], source=source, schema=[Field(name="load", dtype=Float32)])
whole_world = FeatureView(name="whole_world", source=source, schema=[Field(name="population", dtype=Int64)])
vectors = FeatureView(
    name="vectors",
    entities=[customer],
    source=source,
    schema=[
        Field(name="embedding", dtype=Array(Float32)),
        Field(name="place", dtype=Array(Float64), vector_length=2),
        Field(name="tags", dtype=Array(String)),
        Field(name="norm", dtype=Float32),
    ],
)
asked = RequestSource(name="asked", schema=[Field(name="amount", dtype=Float64), Field(name="factor", dtype=Int64)])


@on_demand_feature_view(
    sources=[customers[["visits", "spent"]], asked],
    schema=[Field(name="half_visits", dtype=Float64), Field(name="big_spender", dtype=Bool)],
    mode="python",
)
def ratios(inputs):
    pairs = zip(inputs["spent"], inputs["amount"], strict=True)
    return {
        "half_visits": [None if visits is None else visits / 2 for visits in inputs["customers__visits"]],
        "big_spender": [None if spent is None else spent > amount for spent, amount in pairs],
    }


@on_demand_feature_view(
    sources=[customers[["visits"]], asked],
    schema=[Field(name="weighted", dtype=Int64)],
    mode="python",
    singleton=True,
)
def one_by_one(inputs):
    visits = inputs["visits"]
    return {"weighted": None if visits is None else visits * inputs["factor"] + inputs.get("customer_id", 0)}


@on_demand_feature_view(sources=[customers[["visits"]]], schema=[Field(name="twice", dtype=Int64)], mode="pandas")
def in_pandas(frame):
    import pandas

    return pandas.DataFrame({"twice": frame["visits"] * 2})


golden = FeatureService(name="golden", features=[everything, weather, tokens, moments, whole_world])
computed = FeatureService(name="computed", features=[customers[["segment"]], ratios, one_by_one, weather[["wind"]]])
renamed = FeatureService(
    name="renamed",
    features=[
        weather[["wind"]].with_name("here").with_join_key_map({"region": "home"}),
        weather[["temperature"]].with_name("there").with_join_key_map({"region": "destination"}),
    ],
)
pandas_mode = FeatureService(name="pandas_mode", features=[in_pandas])
listed = FeatureService(name="listed", features=[vectors[["embedding", "place", "tags"]]])
beside_a_list = FeatureService(name="beside_a_list", features=[vectors[["norm"]]])
twice_the_same = FeatureService(name="twice_the_same", features=[weather.with_name("here"), weather.with_name("there")])
