"""One suite for the stages behind their stubs and in prediction's own process: the same answers, the same errors."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb
from predmesh.features.v1 import feature_service_pb2
from predmesh_bundle.generation import Generation, LiveModel
from predmesh_bundle.read_plan import FeaturePlan, FeatureType, JoinKey, ReadPlan, ViewPlan
from predmesh_bundle.schema import Bundle
from predmesh_bundle.store import Store, StoredBundle
from predmesh_frame import Column, DataType, Frame
from predmesh_frame.wire import frame_to_proto
from predmesh_prediction.domain import Stages
from predmesh_rpc import deadline
from predmesh_rpc.errors import DeadlineExceeded, DependencyDown, FailedPrecondition, PredmeshError
from predmesh_testing.mesh import Mesh, running_mesh
from predmesh_testing.redis import RedisServer, needs_redis, running_redis

pytestmark = needs_redis()

RIDES: dict[str, Any] = {
    "name": "rides",
    "owner": "tests",
    "description": "Whether a rider tips.",
    "inputs": [
        {"name": "rider", "type": "string", "entity_key": True, "example": "r"},
        {"name": "fare", "type": "double", "example": 12.5},
    ],
    "features": {"repo": "features", "service": "riders_v1", "defaults": {"trips": 3}},
    "preprocessing": {"plugin": "prepare:Prepare"},
    "inference": {
        "framework": "xgboost",
        "file": "model.json",
        "max_batch_rows": 8,
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [3], "feature_names": ["fare", "trips", "rating"]}],
        "outputs": [{"name": "probability", "datatype": "FP32", "shape": [1]}],
    },
    "outputs": [{"name": "tips", "type": "double", "tensor": "probability", "index": 0}],
    "explanation": {"method": "tree_shap", "output": "tips"},
}
PREPARE = """
import time
import numpy as np

class Prepare:
    def __init__(self, folder): ...

    def transform(self, frame):
        fares = frame.columns["fare"].values
        if fares[0] == -1:
            raise ValueError("no such fare")
        if fares[0] == -2:
            time.sleep(1)
        columns = [frame.columns[name] for name in ("fare", "trips", "rating")]
        values = [np.where(column.mask, column.values, np.nan) for column in columns]
        return {"x": np.stack(values, axis=1).astype(np.float32)}
"""
PLAN = ReadPlan(
    project="rides",
    feature_service="riders_v1",
    entity_key_serialization_version=3,
    views=(
        ViewPlan(
            name="riders",
            alias="riders",
            join_keys=(JoinKey(name="rider", type=FeatureType.STRING, column="rider"),),
            ttl_seconds=None,
            features=(
                FeaturePlan(name="trips", type=FeatureType.INT64, default=3),
                FeaturePlan(name="rating", type=FeatureType.DOUBLE, default=None),
            ),
        ),
    ),
    on_demand=(),
    features=("trips", "rating"),
)
PLACES = {"1": "local", "2": "in-process"}


@pytest.fixture(scope="module")
def booster() -> xgb.Booster:
    rows = np.random.default_rng(1).normal(10, 5, size=(200, 3)).astype(np.float32)
    tipped = rows.sum(axis=1) > 30
    return xgb.train({"objective": "binary:logistic", "nthread": 1, "max_depth": 3}, xgb.DMatrix(rows, tipped), 5)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, booster: xgb.Booster) -> Path:
    """A store in which version 1 is local and version 2 in process."""
    root = tmp_path_factory.mktemp("rides")
    store, models = Store(root / "store"), []
    for version, place in PLACES.items():
        folder = root / version
        (folder / "compiled").mkdir(parents=True)
        bundle = Bundle.model_validate(RIDES | {"version": version, "stages": place})
        (folder / "compiled" / "bundle.json").write_text(bundle.model_dump_json())
        (folder / "compiled" / "read_plan.json").write_text(PLAN.to_json())
        (folder / "prepare.py").write_text(PREPARE)
        booster.save_model(folder / "model.json")
        bundle_id = store.put(folder).bundle_id
        models.append(LiveModel(name="rides", version=version, bundle_id=bundle_id, default=version == "1"))
    store.write_generation(Generation(number=1, models=tuple(models)))
    store.flip(1)
    return root / "store"


@dataclass(frozen=True)
class Placed:
    """The stages of one version, as prediction's graph has them."""

    mesh: Mesh
    redis: RedisServer
    stages: Stages
    bundle: StoredBundle

    @property
    def bundle_id(self) -> str:
        return self.bundle.bundle_id


@pytest.fixture(params=PLACES, ids=PLACES.get)
async def placed(request: pytest.FixtureRequest, live: Path) -> AsyncIterator[Placed]:
    with running_redis() as redis:
        async with running_mesh(Store(live), redis.url, transport="unix") as mesh:
            await mesh.ready()
            served = mesh.services["prediction"].loader.find("rides", request.param)
            yield Placed(mesh, redis, served.stages, served.stored)


def rides(*fares: float, rider: str = "r") -> Frame:
    return Frame.of(
        {
            "rider": Column.of(DataType.STRING, [rider] * len(fares)),
            "fare": Column.of(DataType.DOUBLE, list(fares)),
        }
    )


def keys(*riders: str) -> Frame:
    return Frame.of({"rider": Column.of(DataType.STRING, list(riders))})


def features(rows: int = 1) -> Frame:
    trips = Column.of(DataType.INT64, [5] * rows)
    return Frame.of({"trips": trips, "rating": Column.of(DataType.DOUBLE, [4.5] * rows)})


def tensors(rows: int = 1, width: int = 3) -> dict[str, Any]:
    return {"x": np.full((rows, width), 10, np.float32)}


async def push(placed: Placed, rider: str) -> None:
    rows = Frame.of(
        {
            "rider": Column.of(DataType.STRING, [rider]),
            "trips": Column.of(DataType.INT64, [2**40]),
            "rating": Column.of(DataType.DOUBLE, [4.5]),
        }
    )
    request = feature_service_pb2.PushFeaturesRequest(
        bundle_id=placed.bundle_id, feature_view="riders", rows=frame_to_proto(rows)
    )
    request.event_times.add().FromSeconds(int(time.time()))
    assert (await placed.mesh.features.PushFeatures(request, timeout=30)).rows_written == 1


async def test_a_lookup_gives_values_and_what_stands_in_for_them(placed: Placed) -> None:
    await push(placed, "r")
    looked = await placed.stages.features.lookup(placed.bundle_id, keys("r", "nobody"), None)
    assert {name: looked.features.columns[name].to_list() for name in ("trips", "rating")} == {
        "trips": [2**40, 3],
        "rating": [4.5, None],
    }
    assert not looked.store_down


async def test_tensors_are_made_of_inputs_and_features_side_by_side(placed: Placed) -> None:
    looked = await placed.stages.features.lookup(placed.bundle_id, keys("nobody", "nobody"), None)
    made = await placed.stages.preprocessing.transform(placed.bundle_id, [rides(1, 2), looked.features])
    np.testing.assert_array_equal(made["x"], np.array([[1, 3, np.nan], [2, 3, np.nan]], np.float32))


async def test_the_model_answers_as_its_own_library_does(placed: Placed, booster: xgb.Booster) -> None:
    answer = await placed.stages.inference.infer(placed.bundle, tensors(2), ("probability",))
    assert answer["probability"].shape == (2, 1)
    np.testing.assert_allclose(answer["probability"][:, 0], booster.inplace_predict(tensors(2)["x"]), atol=1e-6)


async def test_the_model_is_ready(placed: Placed) -> None:
    assert await placed.stages.inference.ready(placed.bundle)


async def test_attributions_add_up_to_the_answer(placed: Placed, booster: xgb.Booster) -> None:
    explained = await placed.stages.explanation.explain(placed.bundle_id, tensors(2), 0)
    margin = explained.base_values + explained.contributions.sum(axis=1)
    own = booster.inplace_predict(tensors(2)["x"], predict_type="margin")
    np.testing.assert_allclose(margin, own, atol=1e-5)
    assert explained.feature_names == ("fare", "trips", "rating")


Ask = Callable[[Stages, StoredBundle], Awaitable[Any]]
ASKED: dict[str, Ask] = {
    "features": lambda stages, bundle: stages.features.lookup(bundle.bundle_id, keys("r"), None),
    "preprocessing": lambda stages, bundle: stages.preprocessing.transform(bundle.bundle_id, [rides(1), features()]),
    "inference": lambda stages, bundle: stages.inference.infer(bundle, tensors(), ("probability",)),
    "explanation": lambda stages, bundle: stages.explanation.explain(bundle.bundle_id, tensors(), 0),
}
REFUSED: dict[str, Ask] = {
    "a key is missing": lambda stages, bundle: stages.features.lookup(
        bundle.bundle_id, Frame(1, {"fare": rides(1).columns["fare"]}), None
    ),
    "a feature is missing": lambda stages, bundle: stages.preprocessing.transform(bundle.bundle_id, [rides(1)]),
    "the plug-in fails": lambda stages, bundle: stages.preprocessing.transform(
        bundle.bundle_id, [rides(-1), features()]
    ),
    "the tensor is too wide": lambda stages, bundle: stages.inference.infer(bundle, tensors(width=4), ("probability",)),
    "there are too many rows": lambda stages, bundle: stages.inference.infer(bundle, tensors(9), ("probability",)),
    "there is no such output": lambda stages, bundle: stages.explanation.explain(bundle.bundle_id, tensors(), 7),
}


async def told(call: Awaitable[Any]) -> PredmeshError:
    with pytest.raises(PredmeshError) as caught:
        await call
    return caught.value


async def all_told(placed: Placed, asks: dict[str, Ask], bundle: StoredBundle) -> dict[str, PredmeshError]:
    return {name: await told(ask(placed.stages, bundle)) for name, ask in asks.items()}


async def test_a_bundle_that_is_not_loaded_makes_the_stage_down(placed: Placed) -> None:
    unknown = replace(placed.bundle, bundle_id="rides-9-000000000000", model_id="rides-0000000000000000")
    errors = await all_told(placed, ASKED, unknown)
    assert {stage: type(error) for stage, error in errors.items()} == dict.fromkeys(ASKED, DependencyDown)
    assert all("try again" in error.message for error in errors.values())


async def test_a_stage_without_time_is_late(placed: Placed) -> None:
    with deadline.within(0):
        errors = await all_told(placed, ASKED, placed.bundle)
    assert {stage: type(error) for stage, error in errors.items()} == dict.fromkeys(ASKED, DeadlineExceeded)


async def test_what_the_graph_made_wrong_is_the_bundles_fault(placed: Placed) -> None:
    errors = await all_told(placed, REFUSED, placed.bundle)
    told = {why: (type(error), error.reason) for why, error in errors.items()}
    assert told == dict.fromkeys(REFUSED, (FailedPrecondition, "ERROR_REASON_MODEL_FAILED"))


async def test_a_slow_stage_is_left_when_time_is_up(placed: Placed) -> None:
    with deadline.within(0.2):
        error = await told(placed.stages.preprocessing.transform(placed.bundle_id, [rides(-2), features()]))
    assert isinstance(error, DeadlineExceeded)


async def test_without_its_store_the_features_are_down(placed: Placed) -> None:
    await ASKED["features"](placed.stages, placed.bundle)
    placed.redis.stop()
    error = await told(ASKED["features"](placed.stages, placed.bundle))
    assert isinstance(error, DependencyDown)
    assert error.reason == "ERROR_REASON_STORE_DOWN"


async def test_each_place_has_the_bundles_that_run_there(placed: Placed) -> None:
    models = placed.mesh.services["inference"].loader
    assert [each.bundle_id.split("-")[1] for each in models.statuses()] == ["1"]
