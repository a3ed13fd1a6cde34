"""Ages and statuses: the rules that say which values can be trusted."""

from __future__ import annotations

import numpy as np
import pytest
from predmesh_features.domain import NEVER, Status, ages, judged, newer, youngest


def test_an_age_is_the_time_since_the_event_and_none_where_there_was_none() -> None:
    found = ages(np.array([1_000_000, NEVER, 5_000_000]), 3_500_000)
    np.testing.assert_array_equal(found, [2.5, np.nan, -1.5])


@pytest.mark.parametrize(
    ("state", "age", "limit", "expected"),
    [
        (Status.PRESENT, 10.0, None, Status.PRESENT),
        (Status.PRESENT, 10.0, 10.0, Status.PRESENT),
        (Status.PRESENT, 10.001, 10.0, Status.OUTSIDE_MAX_AGE),
        (Status.NULL, 11.0, 10.0, Status.OUTSIDE_MAX_AGE),
        (Status.NULL, 1.0, 10.0, Status.NULL),
        (Status.NOT_FOUND, 11.0, 10.0, Status.NOT_FOUND),
        (Status.PRESENT, np.nan, 10.0, Status.NOT_FOUND),
        (Status.PRESENT, np.nan, None, Status.NOT_FOUND),
        (Status.PRESENT, -5.0, 10.0, Status.PRESENT),
        (Status.PRESENT, 0.001, 0.0, Status.OUTSIDE_MAX_AGE),
    ],
)
def test_a_value_is_judged_by_its_age(state: Status, age: float, limit: float | None, expected: Status) -> None:
    found = judged(np.array([[state]], dtype=np.uint8), np.array([age]), limit)
    assert found.tolist() == [[expected]]
    assert found.dtype == np.uint8


def test_the_smallest_limit_counts() -> None:
    assert youngest(None, 5.0, 3.0) == 3.0
    assert youngest(None, None) is None
    assert youngest(0.0, 5.0) == 0.0


def test_a_row_must_be_newer_than_what_is_stored() -> None:
    assert [newer(5, stored) for stored in (0, 4, 5, 6)] == [True, True, False, False]
