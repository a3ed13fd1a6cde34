"""Exact Shapley values of XGBoost's trees (path-dependent TreeSHAP), by XGBoost itself: the same bits as shap gives."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xgboost as xgb
from predmesh_bundle.schema import Inference, TensorSpec
from predmesh_frame.columns import Array
from predmesh_frame.oip import dtype_of

from predmesh_explanation.domain import (
    Attributions,
    Expired,
    Method,
    Numbers,
    OutOfTime,
    Space,
    Unusable,
    additivity_error,
    chunks,
    invalid,
)

# 2 ms a row for 200 trees of depth 6 (facts: explanations), so a piece takes about 20 ms.
CHUNK_ROWS = 8
LOGISTIC = ("binary:logistic", "binary:logitraw", "reg:logistic")
IDENTITY = ("reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "reg:squaredlogerror", "reg:quantileerror")


class XGBoostTrees:
    """A booster and the names of its features."""

    method = Method.TREE_SHAP

    def __init__(self, path: Path, inference: Inference) -> None:
        """Open the booster at *path*.

        Raises:
            Unusable: it is no ensemble of trees, or its features are not those that the bundle names.
        """
        self._inputs = inference.inputs
        self._booster = _booster(path)
        config = json.loads(self._booster.save_config())["learner"]
        if config["gradient_booster"]["name"] not in ("gbtree", "dart"):
            raise Unusable(f"{path.name} is no ensemble of trees: tree_shap needs booster gbtree or dart")
        self._groups = max(1, int(config["learner_model_param"]["num_class"]), _targets(config))
        self.space = _space(config["objective"]["name"])
        self._names = _feature_names(self._booster, inference.inputs)
        # Two columns of one probability: the first is its complement, and is moved the other way.
        self._two_columns = self._groups == 1 and inference.outputs[0].shape == (2,)

    @property
    def outputs(self) -> int:
        """How many outputs there are to explain."""
        return 2 if self._two_columns else self._groups

    def table(self, tensors: dict[str, Array]) -> Array:
        """The tensors beside each other in the bundle's order, as the model itself takes them."""
        names = [spec.name for spec in self._inputs]
        if set(tensors) != set(names):
            raise invalid("tensors", f"are {', '.join(tensors) or 'none'}; the model takes {', '.join(names)}")
        parts = [_part(spec, tensors[spec.name]) for spec in self._inputs]
        if len({part.shape[0] for part in parts}) > 1:
            raise invalid("tensors", "hold different numbers of rows")
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def check_output(self, index: int) -> None:
        """Raise InvalidInput unless the model has an output of that *index*."""
        if index >= self.outputs:
            raise invalid("output_index", f"is {index}; the model has {self.outputs} outputs, counted from 0")

    def explain(self, table: Array, output_index: int, expired: Expired) -> Attributions:
        """The attributions of every row, in pieces between which the time is looked at."""
        pieces: list[tuple[Numbers, Numbers]] = []
        for piece in chunks(table.shape[0], CHUNK_ROWS):
            if expired():
                raise OutOfTime
            pieces.append(self._piece(table[piece], output_index))
        contributions, margins = (np.concatenate(part) for part in zip(*pieces, strict=True))
        return Attributions(
            method=self.method,
            space=self.space,
            feature_names=self._names,
            base_values=contributions[:, -1],
            contributions=contributions[:, :-1],
            max_additivity_error=additivity_error(contributions[:, -1], contributions[:, :-1], margins),
        )

    def _piece(self, table: Array, index: int) -> tuple[Numbers, Numbers]:
        """(rows, features + 1) contributions with the base value last, and (rows,) the model's own margin."""
        rows, group = table.shape[0], 0 if self._two_columns else index
        data = xgb.DMatrix(table, nthread=1, feature_names=self._booster.feature_names)
        found = self._booster.predict(data, pred_contribs=True, strict_shape=True)[:, group, :]
        margins = self._booster.predict(data, output_margin=True).reshape(rows, self._groups)[:, group]
        sign = -1.0 if self._two_columns and index == 0 else 1.0
        return sign * found.astype(np.float64), sign * margins.astype(np.float64)


def _booster(path: Path) -> xgb.Booster:
    booster = xgb.Booster({"nthread": 1})
    try:
        booster.load_model(str(path))
    except xgb.core.XGBoostError as error:
        raise Unusable(f"{path.name} cannot be opened as an XGBoost model: {str(error).splitlines()[0]}") from error
    booster.set_param({"nthread": 1, "device": "cpu"})
    return booster


def _targets(config: dict[str, dict[str, str]]) -> int:
    return int(config["learner_model_param"].get("num_target", "1"))


def _space(objective: str) -> Space:
    if objective in LOGISTIC:
        return Space.LOGIT
    return Space.IDENTITY if objective in IDENTITY else Space.MARGIN


def _feature_names(booster: xgb.Booster, inputs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """The bundle's names of the booster's columns, in order.

    Raises:
        Unusable: there are more or fewer, or the model knows the same names in another order.
    """
    names = tuple(name for spec in inputs for name in _names(spec))
    known = booster.feature_names
    if len(names) != booster.num_features():
        raise Unusable(f"the booster has {booster.num_features()} features; predmesh.yaml names {len(names)}")
    if known is not None and set(known) == set(names) and list(known) != list(names):
        raise Unusable(
            "feature_names in predmesh.yaml are those of the booster in another order; give them in its order"
        )
    return names


def _names(spec: TensorSpec) -> tuple[str, ...]:
    if spec.feature_names:
        return spec.feature_names
    width = spec.shape[-1] if spec.shape else 1
    return (spec.name,) if width == 1 else tuple(f"{spec.name}[{index}]" for index in range(max(width, 0)))


def _part(spec: TensorSpec, array: Array) -> Array:
    if array.dtype != dtype_of(spec.datatype):
        raise invalid(f"tensors.{spec.name}", f"is {array.dtype}; send {spec.datatype}")
    part = array[:, np.newaxis] if array.ndim == 1 else array
    if part.ndim != 2 or part.shape[1] != len(_names(spec)):
        raise invalid(f"tensors.{spec.name}", f"has shape {list(array.shape)}; send [rows, {len(_names(spec))}]")
    return part
