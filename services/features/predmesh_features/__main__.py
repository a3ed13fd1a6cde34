"""The features process: settings, Redis, the bundles of the store, one server."""

from __future__ import annotations

from predmesh_bundle.follower import Follower
from predmesh_bundle.store import Store
from predmesh_rpc.server import launch
from predmesh_rpc.service import serve

from predmesh_features.settings import Settings
from predmesh_features.wiring import open_service


async def main(settings: Settings) -> None:
    """Serve until asked to end."""
    store = Store(settings.store)
    async with open_service(settings, store) as service:
        follower = Follower(store, service="features", instance=settings.instance, loader=service.loader)
        await serve(settings, service, follower)


if __name__ == "__main__":
    launch(main, Settings, "FEATURES_")
