"""Trains the flight delay model and writes its bundle: `python -m examples.flights.train`.

January to September train, October to December are held out. A second run finds that nothing has changed and is done.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from examples.flights.content import BUILD, FOLDER, stamp, stamped, training_digest

if TYPE_CHECKING:
    import polars as pl
    import xgboost
    from predmesh_bundle.read_plan import ReadPlan

    from examples.flights.preprocessing import Matrix

BUNDLE, TABLES = BUILD / "bundle", BUILD / "tables"
CARD = FOLDER.parents[1] / "docs/model-cards/flight-delay.md"
VERSION = "1"
FIRST_HELD_OUT_MONTH = 10
TREES = 200
PARAMETERS = {
    "objective": "binary:logistic",
    "max_depth": 6,
    "eta": 0.05,
    "tree_method": "hist",
    "nthread": 2,
    "seed": 2013,
}


def main() -> Path:
    """Trains unless that has been done; answers the bundle's folder."""
    digest = training_digest()
    if stamped("trained") != digest or not BUNDLE.exists():
        start = time.monotonic()
        stamp("trained", "")
        train()
        stamp("trained", digest)
        print(f"trained in {time.monotonic() - start:.0f} s: {BUNDLE}", file=sys.stderr)
    return BUNDLE


def train() -> None:
    """Makes the feature tables, the preprocessing graph, the model, its card and the bundle."""
    import onnx

    from examples.flights import evaluation, model_card, preprocessing

    _say("reading 336,776 flights and compiling the feature service")
    plan = read_plan()
    flights = source_tables(plan)
    rows = joined(flights, plan).filter(flights["late"].is_not_null())
    held_out = held_out_rows(rows)
    training = rows.filter(~held_out)
    _say(f"training on {training.height:,} flights, holding out {rows.height - training.height:,}")
    categories = {name: training[name].unique().sort().to_list() for name in preprocessing.CATEGORICAL}
    graph = preprocessing.build(plan, categories)
    x = preprocessing.run(graph, plan, rows)
    known = ~held_out.to_numpy()
    booster = fit(x[known], training["late"])
    probability = booster.inplace_predict(x[~known])
    found = evaluation.evaluate(probability, rows.filter(held_out)["late"].to_numpy())
    card = model_card.write(
        found,
        booster=booster,
        names=preprocessing.feature_names(plan),
        flights=flights,
        rows=rows,
        probability=probability,
    )
    _say(f"AUC {found.auc:.3f}, Brier {found.brier:.3f}, calibration error {found.calibration_error:.3f}")

    shutil.rmtree(BUNDLE, ignore_errors=True)
    shutil.copytree(FOLDER / "bundle", BUNDLE, ignore=shutil.ignore_patterns("__pycache__"))
    onnx.save(graph, BUNDLE / "preprocessing.onnx")
    booster.save_model(BUNDLE / "model.ubj")
    (BUNDLE / "MODEL_CARD.md").write_text(card)
    CARD.parent.mkdir(parents=True, exist_ok=True)
    CARD.write_text(card)


def read_plan() -> ReadPlan:
    """The features, as the mesh will read them."""
    import yaml
    from predmesh_bundle.feast_compiler import compile_read_plan

    features = yaml.safe_load((FOLDER / "bundle/predmesh.yaml").read_text())["features"]
    return compile_read_plan(FOLDER / "bundle" / features["repo"], features["service"], features["defaults"])


def source_tables(plan: ReadPlan) -> pl.DataFrame:
    """Writes the feature tables as Parquet, one a view; answers the flights."""
    from examples.flights import raw, tables

    folder = raw.data_folder()
    flights = raw.read_flights(folder)
    made = tables.of_views(flights, raw.read_weather(folder), raw.read_planes(folder))
    TABLES.mkdir(parents=True, exist_ok=True)
    for view in plan.views:
        tables.typed(made[view.name], view).write_parquet(TABLES / f"{view.name}.parquet")
    return flights


def joined(flights: pl.DataFrame, plan: ReadPlan) -> pl.DataFrame:
    """Every flight with what was known of it at its scheduled departure."""
    from examples.flights.joins import point_in_time_join

    return point_in_time_join(flights, read_tables(plan), plan.views, time="scheduled_departure")


def read_tables(plan: ReadPlan) -> dict[str, pl.DataFrame]:
    """The feature tables, by view name."""
    import polars as pl

    return {view.name: pl.read_parquet(TABLES / f"{view.name}.parquet") for view in plan.views}


def held_out_rows(rows: pl.DataFrame) -> pl.Series:
    """Which rows are held out, by New York's calendar."""
    from examples.flights.raw import NEW_YORK

    return rows["scheduled_departure"].dt.convert_time_zone(NEW_YORK).dt.month() >= FIRST_HELD_OUT_MONTH


def fit(x: Matrix, late: pl.Series) -> xgboost.Booster:
    """The trees; the same ones each time on one machine."""
    import numpy as np
    import xgboost

    return xgboost.train(PARAMETERS, xgboost.DMatrix(x, late.to_numpy().astype(np.float32)), TREES)


def _say(words: str) -> None:
    print(f"flights: {words}", file=sys.stderr)


if __name__ == "__main__":
    main()
