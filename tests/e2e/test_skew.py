"""Training and serving see the same: a whole running mesh against the offline join.

The online store holds the newest values only, so each cut-off is materialised anew and the mesh's clock set to it.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import grpc
import numpy as np
import numpy.typing as npt
import onnx
import polars as pl
import pytest
import xgboost
from predmesh.features.v1 import feature_service_pb2 as pb
from predmesh.features.v1.feature_service_pb2_grpc import FeatureServiceStub
from predmesh_bundle.clock import FixedClock
from predmesh_bundle.read_plan import ReadPlan
from predmesh_bundle.store import Store, StoredBundle
from predmesh_cli.home import Home
from predmesh_cli.mesh_settings import read_settings
from predmesh_frame import Column, DataType, Frame
from predmesh_frame.wire import frame_from_proto, frame_to_proto
from predmesh_testing.running import ROOT, RunningMesh

from examples.flights import preprocessing, raw, setup, train
from examples.flights.joins import point_in_time_join
from examples.flights.materialise import CONNECTION, DEMO_TIME

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

    def probability(self, rows: pl.DataFrame) -> Floats:
        """What the model says of joined *rows*, by its own library."""
        graph = onnx.load(train.BUNDLE / "preprocessing.onnx")
        booster = xgboost.Booster(model_file=train.BUNDLE / "model.ubj")
        return np.asarray(booster.inplace_predict(preprocessing.run(graph, self.plan, rows)))


@pytest.fixture(scope="module")
def offline() -> Offline:
    train.main()
    plan = train.read_plan()
    return Offline(plan, raw.read_flights(raw.data_folder()), train.read_tables(plan))


class Online:
    """What serving has: a running mesh, its online store and clock as of any time."""

    def __init__(self, mesh: RunningMesh, feast: subprocess.Popen[str]) -> None:
        home = Home.at(mesh.home)
        settings = read_settings(home.settings_file)
        assert settings is not None
        assert settings.sockets is not None
        self.store = Store(home.store)
        workers = (path for path in settings.sockets.glob("features*.sock") if not path.stem.endswith("-http"))
        self.features_address = f"unix:{min(workers)}"
        self._mesh = mesh
        self._feast = feast

    @property
    def bundle(self) -> StoredBundle:
        """The bundle of the flights, as it was deployed."""
        return self.store.bundle(self.store.current().find("flight-delay", "").bundle_id)

    def materialise(self, cut_off: datetime) -> None:
        """Make the online store and the mesh's clock those of the cut-off."""
        assert self._feast.stdin is not None
        assert self._feast.stdout is not None
        print(cut_off.isoformat(), file=self._feast.stdin, flush=True)
        assert self._feast.stdout.readline().strip() == cut_off.isoformat(), "it could not be materialised"
        self.store.set_clock(FixedClock(cut_off))

    def features(self, rows: pl.DataFrame) -> Frame:
        """The features of *rows*, as the features service answers."""
        keys = frame_to_proto(Frame(rows.height, {name: strings(rows[name]) for name in KEYS}))
        with grpc.insecure_channel(self.features_address) as channel:
            asked = pb.LookupFeaturesRequest(bundle_id=self.bundle.bundle_id, entity_keys=keys)
            answer = FeatureServiceStub(channel).LookupFeatures(asked, timeout=10)
        return frame_from_proto(answer.features)

    def probability(self, rows: pl.DataFrame, version: str = "") -> Floats:
        """What the mesh answers over REST, by default with the model's default version."""
        asked = rows.select(*KEYS, "distance_miles", pl.col("scheduled_departure").dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
        instances = [{name: value for name, value in row.items() if value is not None} for row in asked.to_dicts()]
        model = f"flight-delay/versions/{version}" if version else "flight-delay"
        answer = self._mesh.post(f"/v1/models/{model}:predict", {"instances": instances}).json()
        assert not answer.get("degraded"), answer["degraded"]
        return np.array([row["late_probability"] for row in answer["predictions"]])


@pytest.fixture(scope="module")
def online(offline: Offline, flights_mesh: RunningMesh) -> Iterator[Online]:
    """The mesh of all end-to-end tests; left as it was found."""
    command = [sys.executable, "-m", "examples.flights.materialise", "--follow"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {CONNECTION: setup.connection(Home.at(flights_mesh.home))},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as feast:
        online = Online(flights_mesh, feast)
        try:
            yield online
        finally:
            online.materialise(DEMO_TIME)


@pytest.fixture(scope="module")
def in_process(online: Online, flights_mesh: RunningMesh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The version of the flights whose stages all run in prediction's own process."""
    folder = tmp_path_factory.mktemp("placed") / "bundle"
    shutil.copytree(train.BUNDLE, folder)
    written = (folder / "predmesh.yaml").read_text()
    placed = re.sub(r"^version:.*$", 'version: "90"', written, flags=re.MULTILINE)
    (folder / "predmesh.yaml").write_text(f"{placed}\nstages: in-process\n")
    flights_mesh.predmesh("deploy", "--no-default", str(folder))
    yield "90"
    flights_mesh.predmesh("undeploy", "flight-delay", "--version", "90")


def strings(column: pl.Series) -> Column:
    """A column of text; null is absent."""
    values = column.fill_null("").to_numpy().astype(object)
    return Column(DataType.STRING, values, column.is_not_null().to_numpy())


@pytest.mark.parametrize("cut_off", CUT_OFFS)
def test_serving_sees_what_training_sees(online: Online, offline: Offline, in_process: str, cut_off: str) -> None:
    rows = offline.following(datetime.fromisoformat(cut_off))
    online.materialise(datetime.fromisoformat(cut_off))
    found = online.features(rows)
    for _, feature in offline.plan.described():
        served, trained = floats(found.column(feature.name)), rows[feature.name].cast(pl.Float64).to_numpy()
        np.testing.assert_allclose(served, trained, rtol=0, atol=1e-6, err_msg=feature.name)
    for version in ("", in_process):
        np.testing.assert_allclose(online.probability(rows, version), offline.probability(rows), rtol=0, atol=1e-6)


def test_the_cut_offs_cover_what_is_missing_and_what_is_old(offline: Offline) -> None:
    joined = pl.concat([offline.following(datetime.fromisoformat(cut_off)) for cut_off in CUT_OFFS])
    assert joined.height == len(CUT_OFFS) * FLIGHTS == 500
    for name in ("temperature_fahrenheit", "carrier_late_share_24h", "route_late_share_7d", "plane_late_share_20"):
        assert 0 < joined[name].null_count() < 400, name


def floats(column: Column) -> Floats:
    """The values, NaN where one is absent."""
    values = column.values.astype(np.float64)
    return values if column.valid is None else np.where(column.valid, values, np.nan)
