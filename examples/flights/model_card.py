"""Words the model card of the flight delay model, every figure computed."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import xgboost

from examples.flights.evaluation import Evaluation, evaluate
from examples.flights.raw import LATE_MINUTES, NEW_YORK

TOP_FEATURES = 12
HELD_OUT_MONTHS = {10: "October", 11: "November", 12: "December"}
ORIGINS = ("EWR", "JFK", "LGA")

TEMPLATE = Path(__file__).with_name("model_card_template.md")


def write(
    found: Evaluation,
    *,
    booster: xgboost.Booster,
    names: Sequence[str],
    flights: pl.DataFrame,
    rows: pl.DataFrame,
    probability: npt.NDArray[np.float32],
) -> str:
    """The card.

    Args:
        found: the evaluation on the held-out rows.
        booster: the model.
        names: of its columns.
        flights: all of them.
        rows: those with a label, joined.
        probability: of the held-out rows, in their order.
    """
    month = pl.col("scheduled_departure").dt.convert_time_zone(NEW_YORK).dt.month()
    held_out = rows.with_columns(month.alias("month")).filter(pl.col("month").is_in(list(HELD_OUT_MONTHS)))
    scored = held_out.with_columns(pl.Series("probability", probability))
    from_store = sum(name in rows.columns and name not in flights.columns for name in names)
    return TEMPLATE.read_text().format(
        late_minutes=LATE_MINUTES,
        trees=booster.num_boosted_rounds(),
        depth=_depth(booster),
        columns=len(names),
        features=from_store,
        derived=len(names) - from_store,
        flights=flights.height,
        unlabelled=flights.height - rows.height,
        train_rows=rows.height - found.rows,
        rows=found.rows,
        auc=found.auc,
        brier=found.brier,
        brier_of_rate=found.brier_of_rate,
        calibration_error=found.calibration_error,
        predicted=found.predicted,
        rate=found.rate,
        reliability="\n".join(_reliability(found)),
        groups="\n".join(_groups(scored)),
        importance=", ".join(_importance(booster, names)),
        missing_weather=rows["temperature_fahrenheit"].null_count(),
    )


def _reliability(found: Evaluation) -> Iterable[str]:
    for item in found.reliability:
        yield f"| {item.low:.1f} to {item.high:.1f} | {item.rows:,} | {item.predicted:.3f} | {item.observed:.3f} |"


def _groups(scored: pl.DataFrame) -> Iterable[str]:
    for column, words in (("month", HELD_OUT_MONTHS), ("origin", dict(zip(ORIGINS, ORIGINS, strict=True)))):
        for value, title in words.items():
            part = scored.filter(pl.col(column) == value)
            one = evaluate(part["probability"].to_numpy(), part["late"].to_numpy())
            figures = f"{one.auc:.3f} | {one.predicted:.3f} | {one.rate:.3f} | {one.calibration_error:.3f}"
            yield f"| {title} | {one.rows:,} | {figures} |"


def _importance(booster: xgboost.Booster, names: Sequence[str]) -> Iterable[str]:
    gain = {names[int(key[1:])]: value for key, value in _total_gain(booster).items()}
    total = sum(gain.values())
    for name, value in sorted(gain.items(), key=lambda item: (-item[1], item[0]))[:TOP_FEATURES]:
        yield f"`{name}` {value / total:.1%}"


def _total_gain(booster: xgboost.Booster) -> dict[str, float]:
    return {key: float(np.sum(value)) for key, value in booster.get_score(importance_type="total_gain").items()}


def _depth(booster: xgboost.Booster) -> int:
    """Levels that a tree may have."""
    settings = json.loads(booster.save_config())
    return int(settings["learner"]["gradient_booster"]["tree_train_param"]["max_depth"])
