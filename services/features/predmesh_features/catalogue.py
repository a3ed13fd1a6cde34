"""The bundles whose features this process serves; loads and drops them as generations come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from predmesh_bundle.generation import Generation
from predmesh_bundle.store import StoredBundle
from predmesh_rpc.errors import NotFound

from predmesh_features.looking_up import FeatureReader
from predmesh_features.row_cache import RowCache


class Catalogue:
    """Readers by bundle id; a `Loader` of the follower."""

    def __init__(self) -> None:
        self._readers: dict[str, FeatureReader] = {}

    @property
    def readers(self) -> Mapping[str, FeatureReader]:
        """The loaded bundles that have features."""
        return self._readers

    def reader(self, bundle_id: str) -> FeatureReader:
        """The reader of a bundle.

        Raises:
            NotFound: it is not loaded here, or has no features.
        """
        try:
            return self._readers[bundle_id]
        except KeyError:
            raise NotFound(
                "ERROR_REASON_BUNDLE_UNKNOWN", f"no bundle {bundle_id!r} with features is loaded", bundleId=bundle_id
            ) from None

    async def load(self, bundle: StoredBundle) -> None:
        """Take up *bundle*; nothing to do for one without features."""
        plan = await asyncio.to_thread(bundle.read_plan)
        if plan is None or bundle.bundle_id in self._readers:
            return
        features = bundle.bundle.features
        limit = features.max_age_seconds if features else None
        kept = features.cache if features else None
        cache = RowCache(kept.max_age_seconds, kept.max_rows) if kept else None
        self._readers[bundle.bundle_id] = FeatureReader(
            plan, bundle_id=bundle.bundle_id, max_age_seconds=limit, cache=cache
        )

    def forget(self, keys: Collection[bytes]) -> None:
        """Let no bundle answer with what it has kept of *keys*: they have been written."""
        for reader in self._readers.values():
            reader.forget(keys)

    async def unload(self, bundle_id: str) -> None:
        """Drop a bundle."""
        self._readers.pop(bundle_id, None)

    async def flip(self, generation: Generation) -> None:
        """Nothing: callers name the bundle."""
