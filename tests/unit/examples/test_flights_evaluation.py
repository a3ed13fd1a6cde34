import numpy as np
import pytest

from examples.flights.evaluation import evaluate, reliability


def test_a_bin_says_what_was_predicted_and_what_happened() -> None:
    found = reliability(np.array([0.11, 0.19, 0.95, 1.0]), np.array([False, True, True, True]))
    assert [(item.low, item.rows, round(item.predicted, 3), item.observed) for item in found] == [
        (0.1, 2, 0.15, 0.5),
        (0.9, 2, 0.975, 1.0),
    ]


def test_figures_of_probabilities_that_are_right_on_average() -> None:
    found = evaluate(np.array([0.25] * 4 + [0.75] * 4), np.array([True, *[False] * 3, *[True] * 3, False]))
    assert found.calibration_error == pytest.approx(0)
    assert (found.auc, found.brier, found.rate, found.brier_of_rate) == pytest.approx((0.75, 0.1875, 0.5, 0.25))


def test_certainty_that_is_wrong_costs_its_square() -> None:
    found = evaluate(np.array([1.0, 0.0]), np.array([False, True]))
    assert (found.auc, found.brier, found.calibration_error) == pytest.approx((0.0, 1.0, 1.0))
