"""The bundles that are loaded here, and how a request to explain one of them is computed within its budget."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from predmesh_bundle.generation import Generation
from predmesh_bundle.store import StoredBundle
from predmesh_frame.columns import Array
from predmesh_rpc import deadline
from predmesh_rpc.errors import DeadlineExceeded, PredmeshError
from predmesh_rpc.workers import Workers

from predmesh_explanation.domain import (
    Attributions,
    Explainer,
    Method,
    OutOfTime,
    budget,
    check_rows,
    model_failed,
    not_explainable,
    out_of_time,
    unknown_bundle,
)
from predmesh_explanation.explainers import open_explainer

_log = logging.getLogger(__name__)

Opener = Callable[[StoredBundle], Explainer | None]
"""Makes the explainer of a bundle; None where it declares no explanation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a caller wants to know."""

    bundle_id: str
    tensors: dict[str, Array]
    output_index: int = 0
    method: int = 0
    """Number of a method of the contract; 0 for the one that the bundle declares."""
    budget_seconds: float | None = None
    """Time to spend; None for all that is left."""


class Explanations:
    """Loads bundles and explains their answers; the follower's loader."""

    def __init__(self, workers: Workers, opener: Opener = open_explainer) -> None:
        """Compute on *workers*, which must be one thread: a booster is not for two."""
        self._workers = workers
        self._open = opener
        self._loaded: dict[str, Explainer | None] = {}

    async def load(self, bundle: StoredBundle) -> None:
        """Open the bundle's model for explaining; a bundle without an explanation needs nothing.

        Raises:
            Unusable: its model cannot be explained as it asks.
        """
        if bundle.bundle_id not in self._loaded:
            self._loaded[bundle.bundle_id] = await asyncio.to_thread(self._open, bundle)

    async def unload(self, bundle_id: str) -> None:
        """Let go of a bundle; one that is not loaded is no error."""
        self._loaded.pop(bundle_id, None)

    async def flip(self, generation: Generation) -> None:
        """Requests name their bundle, so there is nothing to route."""

    async def explain(self, question: Question) -> Attributions:
        """What moved the answers to the question's rows, in order.

        Raises:
            NotFound: the bundle is not loaded here.
            FailedPrecondition: the bundle declares no such explanation, or the model's library failed.
            InvalidInput: the tensors are none the model takes, or it has no such output.
            DeadlineExceeded: the budget ran out.
            TooMuch: too many rows wait.
        """
        explainer = self._explainer(question)
        explainer.check_output(question.output_index)
        table = explainer.table(question.tensors)
        rows = int(table.shape[0])
        check_rows(rows)
        seconds = budget(question.budget_seconds, deadline.remaining())
        if seconds <= 0:
            raise out_of_time(seconds, rows)
        with deadline.within(seconds):
            return await self._in_thread(question, explainer, table, seconds)

    async def _in_thread(self, question: Question, explainer: Explainer, table: Array, seconds: float) -> Attributions:
        """The deadline and the caller's cancel end the wait; the flag then ends the work in the thread."""
        given_up, ends, rows = threading.Event(), time.monotonic() + seconds, int(table.shape[0])

        def expired() -> bool:
            return given_up.is_set() or time.monotonic() >= ends

        def work() -> Attributions:
            return explainer.explain(table, question.output_index, expired)

        try:
            return await self._workers.run(work, rows=rows)
        except (OutOfTime, DeadlineExceeded):
            raise out_of_time(seconds, rows) from None
        except PredmeshError:
            raise
        except Exception:  # the model's library may raise anything
            _log.exception("explaining failed", extra={"bundle_id": question.bundle_id})
            raise model_failed(question.bundle_id) from None
        finally:
            given_up.set()

    def _explainer(self, question: Question) -> Explainer:
        if question.bundle_id not in self._loaded:
            raise unknown_bundle(question.bundle_id)
        explainer = self._loaded[question.bundle_id]
        if explainer is None:
            raise not_explainable(question.bundle_id, "declares no explanation in its predmesh.yaml")
        if question.method not in (0, explainer.method):
            offered = Method(explainer.method).name
            raise not_explainable(question.bundle_id, f"offers {offered} alone; leave `method` out to get it")
        return explainer
