from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from predmesh_inference.domain import Fault, Model, Step, next_step, pause_seconds, same, wrong_answer

from tests.unit.inference.inference_fakes import bundle


def model() -> Model:
    return Model("doubling-0", "doubling-1-000000000000", Path("/nowhere"), bundle().inference, "cpu", (), exact=True)


@pytest.mark.parametrize(
    ("fault", "late", "exact", "step"),
    [
        pytest.param(None, 0, True, Step.READY, id="an answer"),
        pytest.param(Fault.SERVER_DOWN, 0, True, Step.WAIT, id="the server is down"),
        pytest.param(Fault.ABSENT, 0, True, Step.RELOAD, id="a fresh server"),
        pytest.param(Fault.BROKEN, 0, True, Step.RELOAD, id="a dead process"),
        pytest.param(Fault.LATE, 1, True, Step.WAIT, id="late once"),
        pytest.param(Fault.LATE, 2, True, Step.WAIT, id="late twice"),
        pytest.param(Fault.LATE, 3, True, Step.RELOAD, id="late three times"),
        pytest.param(Fault.REFUSED, 0, True, Step.RELOAD, id="refuses a true example"),
        pytest.param(Fault.REFUSED, 0, False, Step.READY, id="refuses made-up values"),
    ],
)
def test_what_follows_a_watching_inference(fault: Fault | None, late: int, exact: bool, step: Step) -> None:
    assert next_step(fault, late=late, exact=exact) is step


def test_reloads_that_do_not_help_come_ever_more_rarely() -> None:
    pauses = [pause_seconds(1.0, failed) for failed in range(8)]
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    assert pause_seconds(60.0, 3) == 60.0


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        pytest.param({"y": np.ones((2, 1))}, None, id="right"),
        pytest.param({"z": np.ones((2, 1))}, "no y", id="missing"),
        pytest.param({"y": np.ones((1, 1))}, r"shape \[1, 1\]", id="rows"),
        pytest.param({"y": np.ones((2, 3))}, r"\[2, 1\]", id="width"),
        pytest.param({"y": np.ones(2)}, r"shape \[2\]", id="axes"),
    ],
)
def test_an_answer_must_be_what_the_bundle_promises(answer: dict[str, np.ndarray], problem: str | None) -> None:
    found = wrong_answer(model(), {"x": np.ones((2, 1))}, answer)
    assert (found is None) == (problem is None)
    if found and problem:
        assert re.search(problem, found)


def test_repeated_and_empty_arrays_are_told_from_the_ones_sent() -> None:
    sent = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert same(sent, sent.copy())
    assert not same(sent, np.full_like(sent, sent[0, 0]))
    assert not same(sent, np.empty((0, 3), np.float32))
