"""What the explainable model answers, and why: trees of one split each, whose worth adds up.

`python -m tests.parity.explaining` writes its file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.parity.rows import EXPLAINABLE, Row, single

MODEL = "parity-explained"
_BASE = 0.25
_ROWS = 8
_NO_PARENT = 2**31 - 1


@dataclass(frozen=True)
class Split:
    """A tree of two leaves: what is `below` the threshold, what is not, and which of them stands for what is missing.

    `rows_below` are how many of eight rows fell below it in training, so what it is worth on average.
    """

    threshold: float
    below: float
    other: float
    rows_below: int = 4
    missing_below: bool = True

    def leaf(self, value: float) -> float:
        """What *value* is worth."""
        below = self.missing_below if math.isnan(value) else value < self.threshold
        return self.below if below else self.other

    @property
    def average(self) -> float:
        """What any value is worth."""
        return (self.below * self.rows_below + self.other * (_ROWS - self.rows_below)) / _ROWS


FEATURES: Mapping[str, Split | None] = {
    "small": Split(0.0, -0.5, 0.5),
    "wide": Split(2.0**53, 0.0625, -0.0625),
    "single": None,
    "precise": Split(0.25, -1.0, 0.5, rows_below=2),
    "très cher": Split(1.0, 2.0, -2.0),
    "maybe_precise": Split(0.0, -0.25, 0.25, missing_below=False),
    "second": Split(1.0, -0.5, 0.5),
}
"""The features of the model, with the tree that reads each; all is exact in 32 bits."""


def explanation(row: Row, top: int) -> dict[str, Any]:
    """What the model answers to a row that it takes, and the *top* reasons, all where that is 0."""
    seen = _seen(row)
    moved = [(name, split.leaf(seen[name]) - split.average if split else 0.0) for name, split in FEATURES.items()]
    ordered = sorted(moved, key=lambda each: -abs(each[1]))[: top or None]
    base = _BASE + sum(split.average for split in FEATURES.values() if split)
    reasons = [(name, seen[name], worth) for name, worth in ordered]
    return explained({"score": repr(base + sum(worth for _, worth in moved))}, base, reasons)


def finite(rows: Iterable[Any]) -> bool:
    """Whether the trees can be asked why of *rows*: XGBoost explains nothing that is infinite in 32 bits."""
    numbers = [row["precise"] for row in rows if isinstance(row, dict) and isinstance(row.get("precise"), float)]
    return not any(math.isinf(single(each)) for each in numbers if math.isfinite(each))


def explained(
    prediction: Mapping[str, Any], base: float, reasons: Iterable[tuple[str, float, float]]
) -> dict[str, Any]:
    """A row's outputs and why they are so, in the form that outcomes are compared in."""
    why = [(name, repr(value), repr(worth)) for name, value, worth in reasons]
    return {**prediction, "base": repr(base), "why": why}


def _seen(row: Row) -> dict[str, float]:
    """The features of *row* as the trees see them."""
    values = [row["small"], row["wide"], row["single"], row["precise"], row["kind"] == "très cher"]
    values += [row.get("maybe_precise"), (row.get("triple") or [math.nan] * 3)[1]]
    seen = (math.nan if value is None else single(float(value)) for value in values)
    return dict(zip(FEATURES, seen, strict=True))


def document() -> dict[str, Any]:
    """The model as XGBoost writes it."""
    splits = [(index, split) for index, split in enumerate(FEATURES.values()) if split]
    trees = [_tree(number, index, split) for number, (index, split) in enumerate(splits)]
    model = {
        "cats": {"enc": [], "feature_segments": [], "sorted_idx": []},
        "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(len(trees))},
        "iteration_indptr": list(range(len(trees) + 1)),
        "tree_info": [0] * len(trees),
        "trees": trees,
    }
    learner = {
        "attributes": {},
        "feature_names": [],
        "feature_types": [],
        "gradient_booster": {"model": model, "name": "gbtree"},
        "learner_model_param": {
            "base_score": f"[{_BASE}]",
            "boost_from_average": "0",
            "num_class": "0",
            "num_feature": str(len(FEATURES)),
            "num_target": "1",
        },
        "objective": {"name": "reg:squarederror", "reg_loss_param": {"scale_pos_weight": "1"}},
    }
    return {"learner": learner, "version": [3, 2, 0]}


def _tree(number: int, feature: int, split: Split) -> dict[str, Any]:
    leaves = [split.below, split.other]
    return {
        "base_weights": [split.average, *leaves],
        "categories": [],
        "categories_nodes": [],
        "categories_segments": [],
        "categories_sizes": [],
        "default_left": [int(split.missing_below), 0, 0],
        "id": number,
        "left_children": [1, -1, -1],
        "loss_changes": [1.0, 0.0, 0.0],
        "parents": [_NO_PARENT, 0, 0],
        "right_children": [2, -1, -1],
        "split_conditions": [split.threshold, *leaves],
        "split_indices": [feature, 0, 0],
        "split_type": [0, 0, 0],
        "sum_hessian": [float(_ROWS), float(split.rows_below), float(_ROWS - split.rows_below)],
        "tree_param": {
            "num_deleted": "0",
            "num_feature": str(len(FEATURES)),
            "num_nodes": "3",
            "size_leaf_vector": "1",
        },
    }


if __name__ == "__main__":
    (EXPLAINABLE / "model.json").write_text(json.dumps(document()) + "\n")
