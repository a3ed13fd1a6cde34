"""The work that every peer does for a request, written as the libraries' own documentation has it.

Features come by the Feast SDK, the tensor from the bundle's preprocessing graph in onnxruntime, the probability from
the bundle's trees in xgboost. Imported in the peers' environments, which have none of Predmesh's packages.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import xgboost
from feast import FeatureStore

from loadtests.peers.shared.variables import BUNDLE, REPO

SERVICE = "flight_delay_v1"
ENTITIES = ("carrier", "origin", "dest", "tailnum")
INPUTS = ("carrier", "origin", "dest", "distance_miles")
KINDS = {"tensor(string)": object, "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}


class FlightDelay:
    """Predicts how likely flights are to be late; safe to call from several threads."""

    def __init__(self, repo: Path, bundle: Path) -> None:
        """Opens the feature store in *repo*, and the graph and the trees in *bundle*."""
        self._store = FeatureStore(repo_path=str(repo))
        self._service = self._store.get_feature_service(SERVICE)
        # One thread each: with more, threads of calls at the same time wait for each other (8 times slower here).
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._preprocessing = onnxruntime.InferenceSession(bundle / "preprocessing.onnx", options)
        self._trees = xgboost.Booster({"nthread": 1}, model_file=bundle / "model.ubj")
        self._kinds = {each.name: KINDS[each.type] for each in self._preprocessing.get_inputs()}

    @classmethod
    def from_environment(cls) -> FlightDelay:
        """The predictor of the folders that the environment names."""
        return cls(Path(os.environ[REPO]), Path(os.environ[BUNDLE]))

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> list[float]:
        """Probabilities in the order of *rows*, each a mapping from the bundle's inputs to JSON values."""
        keys = [{name: row.get(name) or "" for name in ENTITIES} for row in rows]
        columns = self._store.get_online_features(features=self._service, entity_rows=keys).to_dict()
        columns |= {name: [row[name] for row in rows] for name in INPUTS}
        columns["scheduled_departure"] = [_microseconds(row["scheduled_departure"]) for row in rows]
        tensors = {name: _tensor(columns[name], kind) for name, kind in self._kinds.items()}
        (x,) = self._preprocessing.run(["x"], tensors)
        probabilities: list[float] = self._trees.inplace_predict(x).tolist()
        return probabilities

    def predict_many(self, requests: Sequence[Sequence[Mapping[str, Any]]]) -> list[list[float]]:
        """Probabilities of several requests' rows, computed as one batch."""
        probabilities = iter(self.predict([row for rows in requests for row in rows]))
        return [list(itertools.islice(probabilities, len(rows))) for rows in requests]


def _microseconds(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1e6)


def _tensor(values: Sequence[Any], kind: type) -> npt.NDArray[Any]:
    """(rows,); a missing number is NaN, a missing count 0, as the bundle's defaults say."""
    missing = 0 if kind is np.int64 else np.nan
    return np.array([missing if value is None else value for value in values], kind)
