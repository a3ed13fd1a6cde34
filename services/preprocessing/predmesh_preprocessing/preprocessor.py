"""The bundles that are loaded here, and how a request of one of them is computed."""

from __future__ import annotations

import asyncio
import logging

from predmesh_bundle.generation import Generation
from predmesh_bundle.store import StoredBundle
from predmesh_frame import Frame
from predmesh_frame.columns import Array
from predmesh_rpc.errors import NotFound, PredmeshError
from predmesh_rpc.workers import Workers

from predmesh_preprocessing.domain import STAGE, Unusable, complete, conform, failed
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
        self._loaded: dict[str, tuple[Loaded, Workers | None]] = {}

    async def load(self, bundle: StoredBundle) -> None:
        """Open and try the bundle's preprocessing.

        Raises:
            Unusable: it does not fit the bundle.
        """
        if bundle.bundle_id in self._loaded:
            return
        loaded = await asyncio.to_thread(open_transformer, bundle)
        own = Workers(STAGE, limit_rows=self._plugin_limit_rows) if loaded.transformer.blocking else None
        self._loaded[bundle.bundle_id] = (loaded, own)

    async def unload(self, bundle_id: str) -> None:
        """Let go of a bundle; one that is not loaded is no error."""
        loaded, own = self._loaded.pop(bundle_id, (None, None))
        if own is not None:
            own.close()
        if loaded is not None:
            loaded.transformer.close()

    async def flip(self, generation: Generation) -> None:
        """Requests name their bundle, so there is nothing to route."""

    def close(self) -> None:
        """Let go of every bundle."""
        while self._loaded:
            _, (loaded, own) = self._loaded.popitem()
            if own is not None:
                own.close()
            loaded.transformer.close()

    async def transform(self, bundle_id: str, frame: Frame) -> dict[str, Array]:
        """The model's tensors for the rows of *frame*, in order.

        Raises:
            NotFound: the bundle is not loaded here.
            InvalidInput: the columns are not those of the bundle.
            FailedPrecondition: the bundle's own code failed, or gave what the model does not take.
            TooMuch, DeadlineExceeded: as `Workers.run`.
        """
        loaded, own = self._find(bundle_id)
        rows = complete(frame, loaded.columns)
        workers = own or (self._graphs if frame.rows > self._inline_max_rows else None)
        if workers is None:
            return _computed(loaded, rows)
        return await workers.run(lambda: _computed(loaded, rows), rows=frame.rows)

    def _find(self, bundle_id: str) -> tuple[Loaded, Workers | None]:
        try:
            return self._loaded[bundle_id]
        except KeyError:
            reason = f"bundle {bundle_id!r} is not loaded here; see `predmesh models` for those that are live"
            raise NotFound("ERROR_REASON_BUNDLE_UNKNOWN", reason, bundle_id=bundle_id) from None


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
