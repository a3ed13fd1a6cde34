"""The features process: settings, Redis, the bundles of the store, one server."""

from __future__ import annotations

from predmesh_bundle.follower import Follower
from predmesh_bundle.store import Store
from predmesh_rpc.errors import DependencyDown
from predmesh_rpc.server import Dependency, build, launch, run

from predmesh_features.settings import Settings
from predmesh_features.wiring import open_service


async def main(settings: Settings) -> None:
    """Serve until asked to end."""
    store = Store(settings.store)
    async with open_service(settings, store) as service:
        follower = Follower(store, service="features", instance=settings.instance, loader=service.loader)

        async def bundles() -> None:
            if not follower.ready():
                problem = follower.problem() or "the live bundles are being loaded"
                raise DependencyDown("ERROR_REASON_STAGE_DOWN", problem, stage="features")

        health = [*service.health, Dependency("bundles", bundles)]
        async with build(settings, service.servicers, health) as server, follower:
            await run(server, settings.grace_seconds)


if __name__ == "__main__":
    launch(main, Settings, "FEATURES_")
