"""The bundles that are loaded here, and how a request of one of them is computed."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from predmesh_bundle.generation import Generation
from predmesh_bundle.store import StoredBundle
from predmesh_frame import Frame
from predmesh_frame.columns import Array
from predmesh_rpc.errors import PredmeshError
from predmesh_rpc.workers import Workers

from predmesh_preprocessing.domain import (
    STAGE,
    Unusable,
    complete,
    conform,
    failed,
    unknown_bundle,
    without_preprocessing,
)
from predmesh_preprocessing.transformers import Loaded, open_transformer

_log = logging.getLogger(__name__)


class Preprocessor:
    """Loads bundles and transforms their rows; the follower's loader.

    A plug-in is foreign code that may block or hang: each has a thread of its own. A graph runs where the request is,
    unless it is large.
    """

    def __init__(self, graphs: Workers, *, inline_max_rows: int, plugin_limit_rows: int) -> None:
        """Run large graphs on *graphs*."""
        self._graphs = graphs
        self._inline_max_rows = inline_max_rows
        self._plugin_limit_rows = plugin_limit_rows
        self._loaded: dict[str, _Held] = {}

    async def load(self, bundle: StoredBundle) -> None:
        """Open and try the bundle's preprocessing; a bundle without one needs nothing.

        Raises:
            Unusable: it does not fit the bundle.
        """
        if bundle.bundle_id in self._loaded:
            return
        loaded = await asyncio.to_thread(open_transformer, bundle)
        foreign = loaded is not None and loaded.transformer.blocking
        self._loaded[bundle.bundle_id] = _Held(loaded, self._own_thread() if foreign else None)

    async def unload(self, bundle_id: str) -> None:
        """Let go of a bundle; one that is not loaded is no error."""
        if held := self._loaded.pop(bundle_id, None):
            held.close()

    async def flip(self, generation: Generation) -> None:
        """Requests name their bundle, so there is nothing to route."""

    def close(self) -> None:
        """Let go of every bundle."""
        while self._loaded:
            self._loaded.popitem()[1].close()

    async def transform(self, bundle_id: str, frame: Frame) -> dict[str, Array]:
        """The model's tensors for the rows of *frame*, in order.

        Raises:
            NotFound: the bundle is not loaded here.
            InvalidInput: the columns are not those of the bundle, or it declares no preprocessing.
            FailedPrecondition: the bundle's own code failed, or gave what the model does not take.
            TooMuch, DeadlineExceeded: as `Workers.run`.
        """
        loaded, own = self._find(bundle_id)
        rows = complete(frame, loaded.columns) if own else loaded.fitting.complete(frame)
        workers = own or (self._graphs if frame.rows > self._inline_max_rows else None)
        if workers is None:
            return _computed(loaded, rows)
        return await workers.run(lambda: _computed(loaded, rows), rows=frame.rows)

    def _own_thread(self) -> Workers:
        return Workers(STAGE, limit_rows=self._plugin_limit_rows)

    def _find(self, bundle_id: str) -> tuple[Loaded, Workers | None]:
        held = self._loaded.get(bundle_id)
        if held is None:
            raise unknown_bundle(bundle_id)
        if held.loaded is None:
            raise without_preprocessing(bundle_id)
        return held.loaded, held.workers


@dataclass(frozen=True, slots=True)
class _Held:
    """A loaded bundle: None where it declares no preprocessing; with threads of its own where it needs them."""

    loaded: Loaded | None
    workers: Workers | None

    def close(self) -> None:
        if self.workers is not None:
            self.workers.close()
        if self.loaded is not None:
            self.loaded.transformer.close()


def _computed(loaded: Loaded, frame: Frame) -> dict[str, Array]:
    try:
        return conform(loaded.transformer.transform(frame), loaded.tensors, rows=frame.rows)
    except PredmeshError:
        raise
    except Unusable as error:
        _log.error(
            "preprocessing gave no tensors of the model", extra={"bundle_id": loaded.bundle_id, "why": str(error)}
        )
        raise failed(loaded.bundle_id, error) from error
    except Exception as error:  # the bundle's code may raise anything
        _log.exception("preprocessing failed", extra={"bundle_id": loaded.bundle_id})
        raise failed(loaded.bundle_id, error) from error
