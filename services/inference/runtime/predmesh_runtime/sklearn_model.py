"""scikit-learn estimators and pipelines, saved by skops; a pickle could run any code, so none is opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from skops import io

from predmesh_runtime.errors import LoadError
from predmesh_runtime.model import Run, Source
from predmesh_runtime.single_input import check_numeric, table
from predmesh_runtime.specs import Array, TensorSpec

PICKLES = (".pkl", ".pickle", ".joblib")


def open_model(source: Source) -> Run:
    """Floating-point outputs are a classifier's probabilities, else predictions; integers and text are predictions."""
    if source.path.suffix in PICKLES:
        raise LoadError(
            f"{source.path.name} is a pickle, which can run any code when opened: "
            "save the estimator with skops.io.dump(model, 'model.skops')"
        )
    check_numeric(source.inputs)
    estimator = _trusted(source)

    def run(tensors: Mapping[str, Array]) -> Mapping[str, Array]:
        features = table(source.inputs, tensors)
        return {spec.name: _answer(estimator, spec, features) for spec in source.outputs}

    return run


def _trusted(source: Source) -> Any:
    unknown = io.get_untrusted_types(file=str(source.path))
    if unknown:
        raise LoadError(
            f"{source.path.name} holds types that are not trusted: {', '.join(sorted(unknown))}. "
            "Use scikit-learn's own types, or export the model to ONNX"
        )
    return io.load(str(source.path), trusted=[])


def _answer(estimator: Any, spec: TensorSpec, features: Array) -> Array:
    if spec.datatype.startswith("FP") and hasattr(estimator, "predict_proba"):
        return _probabilities(np.asarray(estimator.predict_proba(features)), spec)
    return np.asarray(estimator.predict(features))


def _probabilities(values: Array, spec: TensorSpec) -> Array:
    """All classes; of two, the second alone where the bundle asks for one number."""
    return values[:, 1] if values.shape[1] == 2 and spec.shape in ((), (1,)) else values
