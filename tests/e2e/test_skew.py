"""Training and serving see the same: real Feast, Redis, features service, graph and model against the offline join.

The online store holds the newest values only, so each cut-off is materialised anew and the mesh's clock set to it.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import polars as pl
import pytest
import xgboost
from predmesh.features.v1 import feature_service_pb2 as features_pb
from predmesh.features.v1.feature_service_pb2_grpc import FeatureServiceStub
from predmesh.preprocessing.v1 import preprocessing_service_pb2 as preprocessing_pb
from predmesh.preprocessing.v1.preprocessing_service_pb2_grpc import PreprocessingServiceStub
from predmesh_bundle.clock import FixedClock
from predmesh_bundle.deploying import deploy
from predmesh_bundle.read_plan import ReadPlan
from predmesh_bundle.store import Store, StoredBundle
from predmesh_features import settings as features_settings
from predmesh_features import wiring as features
from predmesh_frame import Column, DataType, Frame
from predmesh_frame.wire import column_from_proto, frame_to_proto, tensor_from_proto
from predmesh_preprocessing import settings as preprocessing_settings
from predmesh_preprocessing import wiring as preprocessing
from predmesh_rpc.inprocess import InProcessChannel, InProcessServer
from predmesh_runtime.model import Model, load
from predmesh_testing.redis import find_redis, running_redis
from predmesh_testing.running import ROOT

from examples.flights import preprocessing as offline_preprocessing
from examples.flights import raw, train
from examples.flights.joins import point_in_time_join

CUT_OFFS = [
    "2013-01-01T09:00:00Z",  # nothing is known yet but the weather
    "2013-01-02T13:17:42Z",
    "2013-01-31T21:00:00Z",
    "2013-02-08T18:30:00Z",  # the snowstorm begins
    "2013-02-10T12:00:00Z",  # and is over
    "2013-03-10T06:59:59Z",  # clocks are set forward
    "2013-03-10T11:00:00Z",
    "2013-04-18T22:41:03Z",
    "2013-05-23T20:00:00Z",
    "2013-06-13T16:05:00Z",
    "2013-07-04T08:00:00Z",  # the nightly rows come in at this very moment
    "2013-07-22T23:59:59Z",
    "2013-08-08T15:15:00Z",
    "2013-09-02T19:00:00Z",
    "2013-10-16T10:30:00Z",
    "2013-11-03T06:00:00Z",  # clocks are set back
    "2013-11-27T14:00:00Z",
    "2013-12-17T17:45:00Z",
    "2013-12-30T17:00:00Z",
    "2013-12-31T20:00:00Z",  # the weather is older than its time to live
]
FLIGHTS = 25
Floats = npt.NDArray[np.floating]
KEYS = ("carrier", "origin", "dest", "tailnum")

pytestmark = pytest.mark.skipif(find_redis() is None, reason="missing here: redis-server")


@dataclass(frozen=True)
class Offline:
    """What training has."""

    plan: ReadPlan
    flights: pl.DataFrame
    tables: dict[str, pl.DataFrame]

    def following(self, cut_off: datetime) -> pl.DataFrame:
        """The next flights, joined with what was known at the cut-off."""
        later = self.flights.filter(pl.col("scheduled_departure") > cut_off).sort("scheduled_departure", "flight_id")
        rows = later.head(FLIGHTS).with_columns(pl.lit(cut_off).dt.cast_time_unit("us").alias("asked"))
        return point_in_time_join(rows, self.tables, self.plan.views, time="asked")


@pytest.fixture(scope="module")
def offline() -> Offline:
    train.main()
    plan = train.read_plan()
    return Offline(plan, raw.read_flights(raw.data_folder()), train.read_tables(plan))


class Online:
    """What serving has: the bundle as it was deployed, and an online store as of any time."""

    def __init__(self, store: Store, redis_url: str, feast: subprocess.Popen[str]) -> None:
        self.store = store
        self.bundle: StoredBundle = store.bundle(store.current().models[0].bundle_id)
        self.model: Model = load(self.bundle.folder, self.bundle.bundle.inference.model_dump())
        self._redis_url = redis_url
        self._feast = feast

    def materialise(self, cut_off: str) -> None:
        """Make the online store and the mesh's clock those of the cut-off."""
        assert self._feast.stdin is not None
        assert self._feast.stdout is not None
        print(cut_off, file=self._feast.stdin, flush=True)
        assert self._feast.stdout.readline().strip() == cut_off, "it could not be materialised"
        self.store.set_clock(FixedClock(datetime.fromisoformat(cut_off)))

    async def features(self, rows: pl.DataFrame) -> Frame:
        """The features of *rows*, as the features service answers."""
        settings = features_settings.Settings(redis_url=self._redis_url)
        keys = frame_to_proto(Frame(rows.height, {name: strings(rows[name]) for name in KEYS}))
        async with features.open_service(settings, self.store) as service:
            await service.loader.load(self.bundle)
            stub = FeatureServiceStub(InProcessChannel(InProcessServer(service.servicers)))
            asked = features_pb.LookupFeaturesRequest(bundle_id=self.bundle.bundle_id, entity_keys=keys)
            answer = await stub.LookupFeatures(asked)
        columns = [feature.column for feature in answer.features]
        return Frame(rows.height, {column.name: column_from_proto(column, rows.height) for column in columns})

    async def probability(self, rows: pl.DataFrame, found: Frame) -> Floats:
        """What the model says of *rows*, through the preprocessing service."""
        time = rows["scheduled_departure"].dt.epoch("us").to_numpy()
        sent = {
            **{name: strings(rows[name]) for name in KEYS},
            "scheduled_departure": Column(DataType.TIMESTAMP, time),
            "distance_miles": Column(DataType.DOUBLE, rows["distance_miles"].to_numpy()),
        }
        frame = frame_to_proto(Frame(rows.height, sent | dict(found.columns)))
        async with preprocessing.open_service(preprocessing_settings.Settings(), self.store) as service:
            await service.loader.load(self.bundle)
            stub = PreprocessingServiceStub(InProcessChannel(InProcessServer(service.servicers)))
            asked = preprocessing_pb.TransformRequest(bundle_id=self.bundle.bundle_id, frame=frame)
            answer = await stub.Transform(asked)
        tensors = dict(tensor_from_proto(tensor) for tensor in answer.tensors)
        return np.asarray(self.model.infer(tensors)["probability"])[:, 0]


@pytest.fixture(scope="module")
def online(offline: Offline, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Online]:
    store = Store(tmp_path_factory.mktemp("skew") / "store")
    deploy(store, train.main())
    command = [sys.executable, "-m", "examples.flights.materialise", "--follow"]
    with running_redis() as server:
        environment = os.environ | {"PREDMESH_FEAST_REDIS": f"127.0.0.1:{server.port}"}
        with subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as feast:
            yield Online(store, server.url, feast)


def strings(column: pl.Series) -> Column:
    """A column of text; null is absent."""
    values = column.fill_null("").to_numpy().astype(object)
    return Column(DataType.STRING, values, column.is_not_null().to_numpy())


@pytest.mark.parametrize("cut_off", CUT_OFFS)
async def test_serving_sees_what_training_sees(online: Online, offline: Offline, cut_off: str) -> None:
    rows = offline.following(datetime.fromisoformat(cut_off))
    online.materialise(cut_off)
    found = await online.features(rows)
    for _, feature in offline.plan.described():
        served, trained = floats(found.column(feature.name)), rows[feature.name].cast(pl.Float64).to_numpy()
        np.testing.assert_allclose(served, trained, rtol=0, atol=1e-6, err_msg=feature.name)
    graph = onnx.load(online.bundle.folder / "preprocessing.onnx")
    expected = booster(online.bundle.folder).inplace_predict(offline_preprocessing.run(graph, offline.plan, rows))
    np.testing.assert_allclose(await online.probability(rows, found), expected, rtol=0, atol=1e-6)


def test_the_cut_offs_cover_what_is_missing_and_what_is_old(offline: Offline) -> None:
    joined = pl.concat([offline.following(datetime.fromisoformat(cut_off)) for cut_off in CUT_OFFS])
    assert joined.height == len(CUT_OFFS) * FLIGHTS == 500
    for name in ("temperature_fahrenheit", "carrier_late_share_24h", "route_late_share_7d", "plane_late_share_20"):
        assert 0 < joined[name].null_count() < 400, name


def floats(column: Column) -> Floats:
    """The values, NaN where one is absent."""
    values = column.values.astype(np.float64)
    return values if column.valid is None else np.where(column.valid, values, np.nan)


def booster(folder: Path) -> xgboost.Booster:
    """The model, by its own library."""
    return xgboost.Booster(model_file=folder / "model.ubj")
