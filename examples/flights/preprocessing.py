"""The graph from a request's inputs and features to the model's tensor; the same graph trains and serves."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import polars as pl
from onnx import TensorProto
from predmesh_bundle.read_plan import FeaturePlan, FeatureType, ReadPlan

from examples.flights import local_time
from examples.flights.graph import Graph

CATEGORICAL = ("carrier", "origin", "dest")
DERIVED = ("distance_miles", "departure_hour", "departure_weekday", *CATEGORICAL)
"""What the tensor's first columns are; the features follow in the order of the feature service."""

ELEMENT_TYPES = {
    FeatureType.FLOAT: TensorProto.FLOAT,
    FeatureType.DOUBLE: TensorProto.DOUBLE,
    FeatureType.INT64: TensorProto.INT64,
}

Matrix = npt.NDArray[np.float32]


def feature_names(plan: ReadPlan) -> tuple[str, ...]:
    """Names of the tensor's columns."""
    return (*DERIVED, *plan.features)


def build(plan: ReadPlan, categories: Mapping[str, Sequence[str]]) -> onnx.ModelProto:
    """The graph.

    Args:
        plan: the features, in order.
        categories: known values of each categorical input; any other becomes NaN, which the trees treat as missing.

    Returns:
        Takes a column a request input and feature, NaN where a float is missing; gives `x`, float32 (rows, columns).
    """
    graph = Graph()
    codes = [graph.codes(graph.input(name, TensorProto.STRING), categories[name]) for name in CATEGORICAL]
    clock = local_time.new_york_seconds(graph.input("scheduled_departure", TensorProto.INT64))
    distance = graph.input("distance_miles", TensorProto.DOUBLE)
    features = [graph.input(feature.name, ELEMENT_TYPES[feature.type]) for _, feature in plan.described()]
    derived = [distance, local_time.hour_of_day(clock), local_time.weekday(clock), *codes]
    graph.columns([*derived, *features], "x")
    return graph.model("flight_delay_preprocessing")


def run(model: onnx.ModelProto, plan: ReadPlan, rows: pl.DataFrame) -> Matrix:
    """The tensor of joined *rows*, as the preprocessing service would compute it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    columns = {name: rows[name].to_numpy().astype(object) for name in CATEGORICAL}
    columns["scheduled_departure"] = rows["scheduled_departure"].dt.epoch("us").to_numpy()
    columns["distance_miles"] = rows["distance_miles"].to_numpy()
    columns |= {feature.name: _values(rows[feature.name], feature) for _, feature in plan.described()}
    (x,) = session.run(["x"], columns)
    return np.asarray(x, np.float32)


def _values(column: pl.Series, feature: FeaturePlan) -> npt.NDArray[np.generic]:
    """The values, NaN where one is missing; an integer is never missing: it has a default."""
    if feature.type is FeatureType.INT64:
        return column.to_numpy().astype(np.int64)
    kind = np.float32 if feature.type is FeatureType.FLOAT else np.float64
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy().astype(kind)
