"""The mesh's clock, as the store shows it now."""

from __future__ import annotations

import logging
from datetime import datetime

from predmesh_bundle.clock import Clock
from predmesh_bundle.store import Store, StoreError

log = logging.getLogger(__name__)


class MeshClock(Clock):
    """Follows the clock of a store; a look costs three stats."""

    def __init__(self, store: Store) -> None:
        """Follow *store*; raises nothing, a damaged clock is reported when it is read."""
        self._store = store
        self._clock = Clock()
        self._signature: object = None

    def now(self) -> datetime:
        """The mesh's time, in UTC; a clock that cannot be read leaves the last one in place."""
        signature = self._store.signature()
        if signature != self._signature:
            self._signature = signature
            try:
                self._clock = self._store.clock()
            except StoreError as error:
                log.error("the mesh's clock cannot be read", extra={"problem": str(error)})
        return self._clock.now()
