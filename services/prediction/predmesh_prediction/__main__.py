"""Runs the prediction service."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack

import grpc
from predmesh_bundle.follower import Follower
from predmesh_bundle.schema import Stage
from predmesh_bundle.store import Store
from predmesh_rpc.channels import connect
from predmesh_rpc.server import launch
from predmesh_rpc.service import serve

from predmesh_prediction.installed import installed_stages
from predmesh_prediction.settings import Settings
from predmesh_prediction.wiring import open_service

Channels = dict[Stage, grpc.aio.Channel]

_SAFE: dict[Stage, str] = {
    "features": "predmesh.features.v1.FeatureService/LookupFeatures",
    "preprocessing": "predmesh.preprocessing.v1.PreprocessingService/Transform",
    "inference": "inference.GRPCInferenceService/ModelInfer",
    "explanation": "predmesh.explanation.v1.ExplanationService/Explain",
}
"""The one method of each stage that may be asked again: none has side effects."""


async def main(settings: Settings) -> None:
    """Serve until asked to end."""
    store = Store(settings.store)
    async with AsyncExitStack() as stack:
        channels, remote = await _connected(settings, stack)
        openers = installed_stages(store, os.environ)
        service = await stack.enter_async_context(open_service(settings, channels, remote=remote, openers=openers))
        follower = Follower(
            store,
            service="prediction",
            instance=settings.instance,
            loader=service.loader,
            drain_seconds=settings.drain_seconds,
        )
        await serve(settings, service, follower)


async def _connected(settings: Settings, stack: AsyncExitStack) -> tuple[Channels, Channels]:
    """Channels to the stages of this machine, and to those elsewhere."""
    local: Channels = {}
    remote: Channels = {}
    for stage, safe in _SAFE.items():
        for channels, address in ((local, settings.local_address(stage)), (remote, settings.remote_address(stage))):
            if address:
                channel = connect(address, safe_to_retry=[safe], traced=bool(settings.otlp_endpoint))
                channels[stage] = await stack.enter_async_context(channel)
    return local, remote


if __name__ == "__main__":
    launch(main, Settings, "PREDICTION_")
