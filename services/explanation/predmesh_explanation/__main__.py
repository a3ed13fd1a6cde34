"""The explanation process: settings, store, service, server."""

from __future__ import annotations

import sys

from predmesh_bundle.follower import Follower
from predmesh_bundle.stages import Outside
from predmesh_bundle.store import Store
from predmesh_rpc.server import launch
from predmesh_rpc.service import serve

from predmesh_explanation.domain import STAGE
from predmesh_explanation.settings import Settings
from predmesh_explanation.wiring import open_service


async def main(settings: Settings) -> None:
    """Serve until asked to end."""
    store = Store(settings.store)
    async with open_service(settings, store) as service:
        follower = Follower(store, service=STAGE, instance=settings.instance, loader=Outside(STAGE, service.loader))
        await serve(settings, service, follower)


if __name__ == "__main__":
    # XGBoost imports scikit-learn, scipy and pandas where they are there, and needs none of them here: without,
    # the process takes 70 MB instead of 173 and starts 3 s sooner.
    sys.modules.setdefault("sklearn", None)  # type: ignore[arg-type]
    launch(main, Settings, prefix="EXPLANATION_")
