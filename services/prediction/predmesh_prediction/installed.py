"""The stages whose packages are installed in this environment; each is imported when it is first opened here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from predmesh_bundle.schema import Stage
from predmesh_bundle.stages import ENTRY_POINTS, Opened
from predmesh_bundle.store import Store

from predmesh_prediction.places import STAGES, Opener


def installed_stages(store: Store, variables: Mapping[str, str]) -> dict[Stage, Opener]:
    """What opens each stage that is installed here.

    Args:
        store: where its bundles are.
        variables: the environment that its settings are read from.
    """
    points = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    return {stage: partial(_opened, points[stage], store, variables) for stage in STAGES if stage in points}


@asynccontextmanager
async def _opened(point: EntryPoint, store: Store, variables: Mapping[str, str]) -> AsyncIterator[Opened[Any]]:
    # A thread, because an import may take a second, and others are being answered.
    open_stage = await asyncio.to_thread(point.load)
    async with open_stage(store, variables) as opened:
        yield opened
