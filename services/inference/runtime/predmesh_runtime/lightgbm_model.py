"""LightGBM boosters, saved as text."""

from __future__ import annotations

from collections.abc import Mapping

import lightgbm as lgb
import numpy as np

from predmesh_runtime.errors import LoadError
from predmesh_runtime.model import Run, Source
from predmesh_runtime.single_input import check_numeric, check_one_output, scores, table
from predmesh_runtime.specs import Array


def open_model(source: Source) -> Run:
    """Probabilities for classifiers, values for regressors, as ``Booster.predict`` gives them; NaN is missing."""
    check_numeric(source.inputs)
    check_one_output(source.outputs)
    booster = lgb.Booster(model_file=str(source.path))
    sizes = [spec.shape[0] if spec.shape else 1 for spec in source.inputs]
    if -1 not in sizes and sum(sizes) != booster.num_feature():
        raise LoadError(
            f"the booster has {booster.num_feature()} features, the bundle's inputs {sum(sizes)}: correct predmesh.yaml"
        )

    def run(tensors: Mapping[str, Array]) -> Mapping[str, Array]:
        values = booster.predict(table(source.inputs, tensors), num_threads=1)
        return scores(source.outputs, np.asarray(values))

    return run
