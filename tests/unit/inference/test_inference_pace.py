"""Which batches of a model run where the call is."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from predmesh_inference.domain import LoadFailed, Model
from predmesh_inference.local_server import LocalServer, Running
from predmesh_inference.pace import QUICK_SECONDS, Pace
from predmesh_inference.probes import synthetic
from predmesh_runtime import Model as LoadedModel
from predmesh_testing.models import MAKERS


def learnt(*runs: tuple[int, float]) -> Pace:
    pace = Pace()
    for rows, seconds in runs:
        pace.took(rows, seconds)
    return pace


def test_a_batch_of_a_size_not_yet_seen_is_not_quick() -> None:
    assert not learnt((1, 0.0001)).quick(64)


def test_what_took_less_than_a_millisecond_is_quick() -> None:
    pace = learnt((1, QUICK_SECONDS / 2), (64, QUICK_SECONDS * 2))
    assert pace.quick(1)
    assert not pace.quick(64)


def test_a_first_slow_run_is_forgotten_soon() -> None:
    assert learnt((1, 0.005), *[(1, 0.0001)] * 4).quick(1)


def test_a_batch_that_grew_slow_is_handed_over() -> None:
    assert not learnt((8, 0.0001), *[(8, 0.005)] * 2).quick(8)


class Watched:
    """A loaded model that notes the threads it runs on, and may be slow."""

    def __init__(self) -> None:
        self.threads: list[bool] = []
        self.seconds = 0.0

    def infer(self, tensors: dict[str, Any]) -> dict[str, Any]:
        self.threads.append(threading.current_thread() is not threading.main_thread())
        until = time.thread_time() + self.seconds
        while time.thread_time() < until:
            pass
        return tensors


@pytest.fixture
def model(tmp_path: Path) -> Model:
    example = MAKERS["xgboost-json"](tmp_path)
    return Model("m-0", "m-1-0", example.folder, example.inference, "cpu", (synthetic(example.inference),), exact=False)


@pytest.fixture
def watched() -> Watched:
    return Watched()


def running(model: Model, watched: Watched, **changes: Any) -> Running:
    changed = replace(model, inference=model.inference.model_copy(update=changes))
    return Running(changed, cast(LoadedModel, watched), limit_rows=100)


async def test_a_quick_model_runs_where_the_call_is_once_it_is_known(model: Model, watched: Watched) -> None:
    here = running(model, watched)
    for _ in range(3):
        assert await here.answer({"x": np.ones(1)}, 1) == {"x": np.ones(1)}
    assert watched.threads == [True, False, False]


async def test_a_slow_model_stays_on_its_thread(model: Model, watched: Watched) -> None:
    here, watched.seconds = running(model, watched), 2 * QUICK_SECONDS
    for _ in range(3):
        await here.answer({}, 1)
    assert watched.threads == [True, True, True]


async def test_code_of_a_bundle_never_holds_the_loop_up(model: Model, watched: Watched) -> None:
    here = running(model, watched, framework="python")
    for _ in range(3):
        await here.answer({}, 1)
    assert watched.threads == [True, True, True]


async def test_a_library_that_is_missing_here_is_named_with_what_to_do(model: Model) -> None:
    inference = model.inference.model_copy(update={"framework": "tensorflow"})
    with pytest.raises(LoadFailed, match="tensorflow, which is not installed in this process's environment"):
        await LocalServer().load(replace(model, inference=inference))
