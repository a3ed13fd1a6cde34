"""Which right name is told to somebody who wrote a wrong one."""

import pytest
from predmesh_bundle.nearest import hint, nearest

NAMES = ("scheduled_departure", "carrier", "distance_miles")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("scheduledDeparture", "scheduled_departure", id="other case"),
        pytest.param("Distance-Miles", "distance_miles", id="dashes"),
        pytest.param("carier", "carrier", id="a letter less"),
        pytest.param("departure", "scheduled_departure", id="a part"),
        pytest.param("mil", "", id="too small a part"),
        pytest.param("wingspan", "", id="like none"),
        pytest.param("", "", id="empty"),
        pytest.param("carrier" + "x" * 1_000_000, "", id="very long"),
    ],
)
def test_the_nearest_name_is_the_one_that_was_probably_meant(name: str, expected: str) -> None:
    assert nearest(name, NAMES) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param(NAMES, "did you mean 'carrier'?", id="near"),
        pytest.param(("b", "a"), "there are a, b", id="far"),
        pytest.param((), "there are none", id="none"),
    ],
)
def test_a_hint_names_the_nearest_or_all(names: tuple[str, ...], expected: str) -> None:
    assert hint("carriers", names) == expected
