"""How good probabilities are: ranking (AUC) and calibration (Brier, ECE, reliability)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

Floats = npt.NDArray[np.floating]
Labels = npt.NDArray[np.bool_]

BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """The rows whose probability lies in [low, high)."""

    low: float
    high: float
    rows: int
    predicted: float
    observed: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What held-out rows say."""

    rows: int
    rate: float
    predicted: float
    auc: float
    brier: float
    brier_of_rate: float
    calibration_error: float
    reliability: tuple[Bin, ...]


def evaluate(probability: Floats, late: Labels) -> Evaluation:
    """Compares probabilities with what happened.

    `brier_of_rate` is the Brier score of always answering the observed rate; `calibration_error` is the expected
    calibration error: mean of |predicted - observed| over the bins, weighted by rows.
    """
    probability, outcome = probability.astype(np.float64), late.astype(np.float64)
    bins = reliability(probability, late)
    rate = float(outcome.mean())
    return Evaluation(
        rows=len(outcome),
        rate=rate,
        predicted=float(probability.mean()),
        auc=float(roc_auc_score(late, probability)),
        brier=float(((probability - outcome) ** 2).mean()),
        brier_of_rate=rate * (1 - rate),
        calibration_error=sum(item.rows * abs(item.predicted - item.observed) for item in bins) / len(outcome),
        reliability=bins,
    )


def reliability(probability: Floats, late: Labels) -> tuple[Bin, ...]:
    """Predicted against observed in bins of equal width; empty bins are left out."""
    number = np.minimum((probability * BINS).astype(int), BINS - 1)
    return tuple(
        Bin(
            low=index / BINS,
            high=(index + 1) / BINS,
            rows=int(chosen.sum()),
            predicted=float(probability[chosen].mean()),
            observed=float(late[chosen].mean()),
        )
        for index in range(BINS)
        if (chosen := number == index).any()
    )
