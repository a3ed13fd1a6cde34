"""Which explainer a bundle asks for, tried on one row before anything depends on it."""

from __future__ import annotations

import numpy as np
from predmesh_bundle.schema import Explanation, Inference
from predmesh_bundle.store import StoredBundle
from predmesh_frame.oip import dtype_of

from predmesh_explanation.domain import Explainer, Unusable


def open_explainer(stored: StoredBundle) -> Explainer | None:
    """The explainer of *stored*; None where it declares no explanation.

    Raises:
        Unusable: its method cannot explain its model.
    """
    declared = stored.bundle.explanation
    if declared is None:
        return None
    explainer = _explainer(stored, declared)
    _try(explainer, stored.bundle.inference)
    return explainer


def _explainer(stored: StoredBundle, declared: Explanation) -> Explainer:
    inference = stored.bundle.inference
    if inference.framework != "xgboost":
        raise Unusable(
            f"{declared.method} cannot read {inference.framework} models, only xgboost ones: "
            "remove `explanation` from predmesh.yaml, or save the model with XGBoost"
        )
    # Imported when first needed: a mesh that explains nothing need not carry XGBoost.
    from predmesh_explanation.tree_shap import XGBoostTrees

    return XGBoostTrees(stored.folder / inference.file, inference)


def _try(explainer: Explainer, inference: Inference) -> None:
    zeros = {spec.name: np.zeros((1, *spec.shape), dtype=dtype_of(spec.datatype)) for spec in inference.inputs}
    try:
        explainer.explain(explainer.table(zeros), 0, lambda: False)
    except Exception as error:  # the model's library may raise anything
        raise Unusable(f"the model cannot be explained: {type(error).__name__}: {error}") from error
