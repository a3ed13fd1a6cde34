import pytest

from loadtests.bench.asking import asks, wines
from loadtests.bench.checking import Check, close, problem
from loadtests.bench.flights import MODEL
from loadtests.bench.scenarios import WINE

WANTED = [{"late_probability": 0.25}]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"p": 0.25}, {"p": 0.2500009}, True),
        ({"p": 0.25}, {"p": 0.250002}, False),
        ({"p": 0.25}, {"q": 0.25}, False),
        ([0.1, 0.2], [0.1, 0.2, 0.3], False),
        ({"grape": "barbera"}, {"grape": "barbera"}, True),
        ({"grape": "barbera"}, {"grape": "nebbiolo"}, False),
        (None, [], False),
    ],
)
def test_values_are_compared_to_a_millionth(one: object, other: object, same: bool):
    assert close(one, other) is same


def test_the_right_answer_has_no_problem():
    assert problem({"predictions": [{"late_probability": 0.25}]}, WANTED) == ""


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"error": "UNAVAILABLE away"}, "failed: UNAVAILABLE away"),
        ({"predictions": WANTED, "degraded": [{"stage": "features"}]}, "is degraded"),
        ({"predictions": [{"late_probability": 0.5}]}, "is .*0.5.*, not .*0.25"),
        ({}, "is None"),
    ],
    ids=["failed", "degraded", "different", "empty"],
)
def test_a_wrong_answer_says_what_is_wrong(answer: dict[str, object], words: str):
    with pytest.raises(AssertionError, match=words):
        assert not problem(answer, WANTED)


def test_a_check_tells_the_first_wrong_answers():
    told = str(Check("REST at h:1", 1000, tuple(f"request {number} failed" for number in range(5))))
    assert told == ("REST at h:1: 5 of 1,000 answers wrong: request 0 failed; request 1 failed; request 2 failed")


def test_mixed_requests_go_to_the_models_in_turn():
    mixed = asks(1, (MODEL, WINE))
    assert [each.model for each in mixed[:4]] == [MODEL, WINE, MODEL, WINE]
    assert mixed[1].path == "/v1/models/wine:predict"
    assert set(mixed[1].body["instances"][0]) >= {"alcohol", "proline"}


def test_no_wine_is_asked_about_twice():
    found = [tuple(wine.values()) for wine in wines(1000)]
    assert len(set(found)) == 1000
