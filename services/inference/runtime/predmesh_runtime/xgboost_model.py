"""XGBoost boosters, saved as JSON or UBJ."""

from __future__ import annotations

from collections.abc import Mapping

import xgboost as xgb

from predmesh_runtime.errors import LoadError
from predmesh_runtime.model import Run, Source
from predmesh_runtime.single_input import check_numeric, check_one_output, scores, table
from predmesh_runtime.specs import Array

KINDS = (".json", ".ubj")


def open_model(source: Source) -> Run:
    """Probabilities for classifiers, values for regressors, as ``Booster.predict`` gives them; NaN is missing."""
    if source.path.suffix not in KINDS:
        raise LoadError(f"{source.path.name}: save the booster with save_model('model.json') or 'model.ubj'")
    check_numeric(source.inputs)
    check_one_output(source.outputs)
    booster = xgb.Booster({"nthread": 1})
    booster.load_model(str(source.path))
    booster.set_param({"nthread": 1, "device": "cuda" if source.gpu else "cpu"})
    _check_width(source, booster)

    def run(tensors: Mapping[str, Array]) -> Mapping[str, Array]:
        return scores(source.outputs, booster.inplace_predict(table(source.inputs, tensors)))

    return run


def _check_width(source: Source, booster: xgb.Booster) -> None:
    sizes = [spec.shape[0] if spec.shape else 1 for spec in source.inputs]
    if -1 not in sizes and sum(sizes) != booster.num_features():
        raise LoadError(
            f"the booster has {booster.num_features()} features, "
            f"the bundle's inputs {sum(sizes)}: correct predmesh.yaml"
        )
