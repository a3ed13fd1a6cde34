"""All services in one process, on features and an explanation: the answer is the model's own on what was pushed.

Wherever the stages are placed: the same tests run over each.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb
from google.protobuf.struct_pb2 import Struct
from predmesh.features.v1 import feature_service_pb2
from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh_bundle.store import Store
from predmesh_frame import Column, DataType, Frame
from predmesh_frame.wire import frame_to_proto
from predmesh_testing.mesh import Mesh, running_mesh
from predmesh_testing.redis import RedisServer, needs_redis, running_redis

pytestmark = needs_redis()

YAML = """
name: tips
version: "1"
owner: tests
description: Whether a rider tips.
inputs:
  - {name: rider_id, type: int64, number: 1, entity_key: true, description: The rider., example: 7}
  - {name: fare, type: double, number: 2, description: The fare., example: 12.5}
features:
  repo: feature_repo
  service: riders_v1
  defaults: {trips: 0, rating: 3.0}
inference:
  framework: xgboost
  file: model.json
  inputs:
    - {name: x, datatype: FP32, shape: [3], feature_names: [fare, trips, rating]}
  outputs:
    - {name: probability, datatype: FP32, shape: [1]}
outputs:
  - {name: tip_probability, type: double, number: 1, tensor: probability, index: 0, description: It.}
explanation: {method: tree_shap, output: tip_probability}
policies: {features: defaults}
"""
STORE_YAML = """
project: riders
provider: local
registry: registry.db
online_store: {type: redis, connection_string: "localhost:6379"}
offline_store: {type: duckdb}
entity_key_serialization_version: 3
"""
DEFINITIONS = """
from datetime import timedelta
from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, Int64

rider = Entity(name="rider", join_keys=["rider_id"], value_type=ValueType.INT64)
riders = FeatureView(
    name="riders", entities=[rider], ttl=timedelta(days=1),
    source=FileSource(name="nothing", path="nothing.parquet", timestamp_field="event_timestamp"),
    schema=[Field(name="trips", dtype=Int64), Field(name="rating", dtype=Float64)],
)
riders_v1 = FeatureService(name="riders_v1", features=[riders])
"""


@pytest.fixture(scope="module")
def booster() -> xgb.Booster:
    rows = np.random.default_rng(1).normal(10, 5, size=(200, 3)).astype(np.float32)
    tipped = rows.sum(axis=1) > 30
    return xgb.train({"objective": "binary:logistic", "nthread": 1, "max_depth": 3}, xgb.DMatrix(rows, tipped), 5)


@pytest.fixture(scope="module", params=["local", "in-process", "{features: in-process}", "{inference: in-process}"])
def deployed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, booster: xgb.Booster) -> Path:
    """A store in which the bundle is live with its stages placed; compiling it imports Feast, which takes seconds."""
    from predmesh_bundle.deploying import deploy

    folder = tmp_path_factory.mktemp("tips")
    bundle = folder / "bundle"
    (bundle / "feature_repo").mkdir(parents=True)
    (bundle / "predmesh.yaml").write_text(f"{YAML}stages: {request.param}\n")
    (bundle / "feature_repo" / "feature_store.yaml").write_text(STORE_YAML)
    (bundle / "feature_repo" / "definitions.py").write_text(DEFINITIONS)
    booster.save_model(bundle / "model.json")
    deploy(Store(folder / "store"), bundle)
    return folder / "store"


@pytest.fixture
async def redis() -> AsyncIterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture(params=["in-process", "unix"])
async def mesh(request: pytest.FixtureRequest, deployed: Path, redis: RedisServer) -> AsyncIterator[Mesh]:
    async with running_mesh(Store(deployed), redis.url, transport=request.param) as mesh:
        await mesh.ready()
        yield mesh


async def push(mesh: Mesh, rider: int, trips: int, rating: float) -> None:
    columns = {
        "rider_id": Column.of(DataType.INT64, [rider]),
        "trips": Column.of(DataType.INT64, [trips]),
        "rating": Column.of(DataType.DOUBLE, [rating]),
    }
    bundle_id = mesh.store.current().models[0].bundle_id
    request = feature_service_pb2.PushFeaturesRequest(
        bundle_id=bundle_id, feature_view="riders", rows=frame_to_proto(Frame.of(columns))
    )
    request.event_times.add().FromSeconds(int(time.time()))
    written = await mesh.features.PushFeatures(request, timeout=30)
    assert written.rows_written == 1


def ride(rider: int, fare: float) -> Struct:
    row = Struct()
    row.update({"rider_id": rider, "fare": fare})
    return row


async def predict(mesh: Mesh, *rows: Struct) -> pb.PredictResponse:
    answer: pb.PredictResponse = await mesh.prediction.Predict(
        pb.PredictRequest(model="tips", instances=rows), timeout=30
    )
    return answer


def own(booster: xgb.Booster, *rows: list[float]) -> Any:
    return pytest.approx(booster.predict(xgb.DMatrix(np.array(rows, dtype=np.float32))).tolist(), abs=1e-6)


async def test_the_answer_is_the_models_on_what_was_pushed(mesh: Mesh, booster: xgb.Booster) -> None:
    await push(mesh, 7, 30, 4.5)
    answer = await predict(mesh, ride(7, 12.5), ride(8, 12.5))
    assert [row["tip_probability"] for row in answer.predictions] == own(booster, [12.5, 30, 4.5], [12.5, 0, 3.0])
    assert len(set(answer.prediction_ids)) == 2
    assert {timing.stage for timing in answer.timings} >= {"queue", "features", "inference"}


async def test_an_explanation_adds_up_to_the_answer(mesh: Mesh, booster: xgb.Booster) -> None:
    await push(mesh, 7, 30, 4.5)
    asked = pb.ExplainRequest(model="tips", instances=[ride(7, 12.5)])
    answer = await mesh.prediction.Explain(asked, timeout=30)
    (row,) = answer.explanations
    assert {each.feature: each.value for each in row.attributions} == {"fare": 12.5, "trips": 30, "rating": 4.5}
    margin = row.base_value + sum(each.contribution for each in row.attributions)
    assert [1 / (1 + np.exp(-margin))] == own(booster, [12.5, 30, 4.5])


async def test_without_redis_the_declared_defaults_answer_and_it_recovers(
    mesh: Mesh, booster: xgb.Booster, redis: RedisServer
) -> None:
    await push(mesh, 7, 30, 4.5)
    redis.stop()
    answer = await predict(mesh, ride(7, 12.5))
    assert [row["tip_probability"] for row in answer.predictions] == own(booster, [12.5, 0, 3.0])
    assert [(each.stage, each.policy) for each in answer.degraded] == [("features", "defaults")]
    redis.start()
    async with asyncio.timeout(10):
        while (await predict(mesh, ride(7, 12.5))).degraded:
            pass
