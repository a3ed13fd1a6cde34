"""The features stage, opened in another service's process: lookups without a message."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from predmesh_bundle.stages import Features, Looked, Opened
from predmesh_bundle.store import Store
from predmesh_frame.blocks import ColumnBlock
from predmesh_frame.frames import Frame
from predmesh_rpc.settings import read

from predmesh_features.domain import Lookup, Status
from predmesh_features.servicer import FeatureServicer
from predmesh_features.settings import Settings
from predmesh_features.wiring import open_service


def installed(store: Store, variables: Mapping[str, str]) -> AbstractAsyncContextManager[Opened[Features]]:
    """The stage with the settings that the features service reads from *variables*. Raises SettingsError."""
    return open_stage(read(Settings, "FEATURES_", variables), store)


@asynccontextmanager
async def open_stage(settings: Settings, store: Store) -> AsyncIterator[Opened[Features]]:
    """The stage over the Redis that *settings* name, for the block."""
    async with open_service(settings, store) as service:
        ((_, servicer),) = service.servicers
        (redis,) = service.health
        yield Opened(FeaturesStage(servicer), service.loader, redis.check)


class FeaturesStage:
    """Looks features up by plain calls."""

    def __init__(self, servicer: FeatureServicer) -> None:
        self._servicer = servicer

    async def lookup(self, bundle_id: str, keys: Frame, max_age_seconds: float | None) -> Looked:
        """The features of each row of *keys*. Raises PredmeshError."""
        return looked(await self._servicer.lookup(bundle_id, keys, max_age_seconds))


def looked(lookup: Lookup) -> Looked:
    """What *lookup* says, numbers of one type in one block."""
    packed = [block for block in lookup.blocks if block.type.packs]
    names = {name for block in packed for name in block.names}
    # Columns are made of blocks where they are asked for: on most paths none stands alone.
    single = [each for each in lookup.features if each.name not in names] if len(names) < len(lookup.order) else []
    blocks = [ColumnBlock(block.names, block.type, block.values, block.valid) for block in packed]
    frame = Frame.of_blocks(lookup.rows, {each.name: each.column for each in single}, blocks)
    states = [block.statuses for block in packed if block.statuses is not None] + [each.statuses for each in single]
    read_age = 0.0 if lookup.read_ages is None else float(lookup.read_ages.max())
    return Looked(frame, any(bool((each == Status.UNAVAILABLE).any()) for each in states), read_age)
