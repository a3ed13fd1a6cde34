"""The preprocessing process: settings, store, service, server."""

from __future__ import annotations

from predmesh_bundle.follower import Follower
from predmesh_bundle.stages import Outside
from predmesh_bundle.store import Store
from predmesh_rpc.server import launch
from predmesh_rpc.service import serve

from predmesh_preprocessing.domain import STAGE
from predmesh_preprocessing.settings import Settings
from predmesh_preprocessing.wiring import open_service


async def main(settings: Settings) -> None:
    """Serve until asked to end."""
    store = Store(settings.store)
    async with open_service(settings, store) as service:
        follower = Follower(store, service=STAGE, instance=settings.instance, loader=Outside(STAGE, service.loader))
        await serve(settings, service, follower)


if __name__ == "__main__":
    launch(main, Settings, prefix="PREPROCESSING_")
