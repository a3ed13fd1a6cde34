"""What an explanation may cost and how true it is, without a model."""

from __future__ import annotations

import math

import numpy as np
import pytest
from predmesh_explanation.domain import additivity_error, budget


@pytest.mark.parametrize(
    ("asked", "remaining", "granted"),
    [(None, 2.0, 2.0), (1.0, 2.0, 1.0), (5.0, 2.0, 2.0), (None, math.inf, math.inf), (0.0, 2.0, 0.0)],
)
def test_a_budget_is_what_was_asked_and_never_more_than_is_left(asked: float | None, remaining: float, granted: float):
    assert budget(asked, remaining) == granted


def test_the_error_is_the_largest_gap_to_the_models_answer():
    contributions = np.array([[1.0, 2.0], [0.5, 0.5]])
    assert additivity_error([1.0, 1.0], contributions, [4.0, 2.25]) == 0.25


def test_the_error_of_no_rows_is_none():
    assert additivity_error([], np.empty((0, 2)), []) == 0.0
