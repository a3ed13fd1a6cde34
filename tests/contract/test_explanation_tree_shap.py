"""Attributions are those that XGBoost itself gives, and add up to what the model answers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb
from predmesh_bundle.schema import Bundle
from predmesh_bundle.store import StoredBundle
from predmesh_explanation.domain import Explainer, OutOfTime, Space, Unusable
from predmesh_explanation.explainers import open_explainer
from predmesh_rpc.errors import InvalidInput

ROWS, FEATURES = 400, 6
NAMES = [f"f{index}" for index in range(FEATURES)]


def never() -> bool:
    return False


def table(seed: int = 0, rows: int = ROWS) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(rows, FEATURES)).astype(np.float32)
    found[::7, 2] = np.nan
    return found


def trained(objective: str, **more: Any) -> xgb.Booster:
    x = table()
    signal = np.nan_to_num(x[:, 0] + x[:, 1] * x[:, 2] - 0.5 * x[:, 3])
    label = {
        "binary:logistic": signal > 0,
        "multi:softprob": np.digitize(signal, [-0.5, 0.5]),
        "count:poisson": np.exp(signal).round(),
    }.get(objective, signal)
    parameters = {"objective": objective, "max_depth": 4, "nthread": 1, "seed": 1} | more
    return xgb.train(parameters, xgb.DMatrix(x, label=label, nthread=1), 30)


def stored(booster: xgb.Booster, folder: Path, *, shape: tuple[int, ...] = (1,), names: Any = NAMES) -> StoredBundle:
    booster.save_model(folder / "model.ubj")
    tensor = {"name": "x", "datatype": "FP32", "shape": [FEATURES], "feature_names": names}
    document = {
        "name": "trees",
        "version": "1",
        "owner": "tests",
        "description": "Tests explanations.",
        "inputs": [{"name": "a", "type": "double", "example": 1.0}],
        "inference": {
            "framework": "xgboost",
            "file": "model.ubj",
            "inputs": [tensor],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": shape}],
        },
        "outputs": [{"name": "answer", "type": "double", "tensor": "y", "index": 0}],
        "explanation": {"method": "tree_shap", "output": "answer"},
    }
    bundle_id, bundle = "trees-1-000000000000", Bundle.model_validate(document)
    return StoredBundle(bundle_id, folder, bundle, datetime(2026, 1, 1, tzinfo=UTC), bundle_id)


def opened(booster: xgb.Booster, folder: Path, **more: Any) -> Explainer:
    explainer = open_explainer(stored(booster, folder, **more))
    assert explainer is not None
    return explainer


@pytest.mark.parametrize(
    ("objective", "more", "shape", "space"),
    [
        pytest.param("binary:logistic", {}, (1,), Space.LOGIT, id="binary"),
        pytest.param("reg:squarederror", {}, (1,), Space.IDENTITY, id="regression"),
        pytest.param("count:poisson", {}, (1,), Space.MARGIN, id="counts"),
        pytest.param("multi:softprob", {"num_class": 3}, (3,), Space.MARGIN, id="classes"),
        pytest.param("binary:logistic", {"booster": "dart", "rate_drop": 0.2}, (1,), Space.LOGIT, id="dart"),
    ],
)
def test_attributions_are_xgboosts_own_and_add_up(
    tmp_path: Path, objective: str, more: dict[str, Any], shape: tuple[int, ...], space: Space
):
    booster, rows = trained(objective, **more), table(seed=5, rows=30)
    explainer = opened(booster, tmp_path, shape=shape)
    own = booster.predict(xgb.DMatrix(rows, nthread=1), pred_contribs=True, strict_shape=True)
    margins = booster.predict(xgb.DMatrix(rows, nthread=1), output_margin=True).reshape(30, -1)
    for index in range(own.shape[1]):
        found = explainer.explain(explainer.table({"x": rows}), index, never)
        np.testing.assert_array_equal(found.contributions, own[:, index, :-1].astype(np.float64))
        np.testing.assert_array_equal(found.base_values, own[:, index, -1].astype(np.float64))
        told = found.base_values + found.contributions.sum(axis=1)
        np.testing.assert_allclose(told, margins[:, index], atol=1e-5)
        assert found.max_additivity_error < 1e-5
        assert (found.space, found.feature_names) == (space, tuple(NAMES))


def test_logits_are_those_of_the_answered_probability(tmp_path: Path):
    booster, rows = trained("binary:logistic"), table(seed=9, rows=20)
    explainer = opened(booster, tmp_path)
    found = explainer.explain(explainer.table({"x": rows}), 0, never)
    told = 1 / (1 + np.exp(-(found.base_values + found.contributions.sum(axis=1))))
    np.testing.assert_allclose(told, booster.inplace_predict(rows), atol=1e-6)


def test_the_complement_of_a_probability_is_moved_the_other_way(tmp_path: Path):
    explainer, rows = opened(trained("binary:logistic"), tmp_path, shape=(2,)), table(rows=5)
    no, yes = (explainer.explain(explainer.table({"x": rows}), index, never) for index in (0, 1))
    np.testing.assert_array_equal(no.contributions, -yes.contributions)
    assert no.max_additivity_error < 1e-5


def test_the_number_of_rows_at_once_changes_nothing(tmp_path: Path):
    explainer, rows = opened(trained("binary:logistic"), tmp_path), table(rows=19)
    whole = explainer.explain(explainer.table({"x": rows}), 0, never).contributions
    alone = [explainer.explain(explainer.table({"x": row[np.newaxis]}), 0, never).contributions[0] for row in rows]
    np.testing.assert_array_equal(whole, alone)


def test_the_time_is_looked_at_between_pieces(tmp_path: Path):
    explainer, asked = opened(trained("binary:logistic"), tmp_path), []

    def twice() -> bool:
        asked.append(1)
        return len(asked) > 2

    with pytest.raises(OutOfTime):
        explainer.explain(explainer.table({"x": table()}), 0, twice)
    assert len(asked) == 3


@pytest.mark.parametrize("index", [1, 7])
def test_an_output_that_is_not_there_is_refused(tmp_path: Path, index: int):
    with pytest.raises(InvalidInput, match="has 1 outputs"):
        opened(trained("binary:logistic"), tmp_path).check_output(index)


@pytest.mark.parametrize(
    ("tensors", "complaint"),
    [
        pytest.param({"y": table()}, "takes x", id="name"),
        pytest.param({"x": table().astype(np.float64)}, "send FP32", id="type"),
        pytest.param({"x": table()[:, :3]}, r"\[rows, 6\]", id="width"),
        pytest.param({}, "none", id="none"),
    ],
)
def test_tensors_that_are_none_of_the_models_are_refused(tmp_path: Path, tensors: dict[str, Any], complaint: str):
    with pytest.raises(InvalidInput, match=complaint):
        opened(trained("binary:logistic"), tmp_path).table(tensors)


def test_names_in_another_order_than_the_models_are_refused(tmp_path: Path):
    x = table()
    booster = xgb.train({"nthread": 1}, xgb.DMatrix(x, label=x[:, 0], feature_names=NAMES, nthread=1), 2)
    with pytest.raises(Unusable, match="another order"):
        opened(booster, tmp_path, names=NAMES[::-1])


def test_the_names_that_the_model_knows_are_no_obstacle(tmp_path: Path):
    x = table()
    booster = xgb.train({"nthread": 1}, xgb.DMatrix(x, label=x[:, 0], feature_names=NAMES, nthread=1), 2)
    explainer = opened(booster, tmp_path, names=[f"weather__{name}" for name in NAMES])
    assert explainer.explain(explainer.table({"x": x[:2]}), 0, never).feature_names[0] == "weather__f0"


def test_a_linear_booster_is_refused(tmp_path: Path):
    with pytest.raises(Unusable, match="no ensemble of trees"):
        opened(trained("reg:squarederror", booster="gblinear", verbosity=0), tmp_path)


def test_another_number_of_features_is_refused(tmp_path: Path):
    with pytest.raises(Unusable, match="has 6 features"):
        opened(trained("binary:logistic"), tmp_path, names=NAMES[:4])


def test_a_file_that_is_no_model_is_refused(tmp_path: Path):
    bundle = stored(trained("binary:logistic"), tmp_path)
    (tmp_path / "model.ubj").write_bytes(b"nothing")
    with pytest.raises(Unusable, match=r"model\.ubj"):
        open_explainer(bundle)


def test_a_bundle_without_explanation_needs_no_model(tmp_path: Path):
    bundle = stored(trained("binary:logistic"), tmp_path)
    (tmp_path / "model.ubj").unlink()
    assert open_explainer(replace(bundle, bundle=bundle.bundle.model_copy(update={"explanation": None}))) is None


def test_another_framework_is_refused_with_the_reason(tmp_path: Path):
    bundle = stored(trained("binary:logistic"), tmp_path)
    inference = bundle.bundle.inference.model_copy(update={"framework": "lightgbm"})
    with pytest.raises(Unusable, match="cannot read lightgbm"):
        open_explainer(replace(bundle, bundle=bundle.bundle.model_copy(update={"inference": inference})))
