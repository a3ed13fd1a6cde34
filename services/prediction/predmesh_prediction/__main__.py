"""Runs the prediction service."""

from __future__ import annotations

from predmesh_bundle.follower import Follower
from predmesh_bundle.store import Store
from predmesh_rpc.channels import connect
from predmesh_rpc.server import launch
from predmesh_rpc.service import serve

from predmesh_prediction.settings import Settings
from predmesh_prediction.wiring import open_service

_SAFE = {
    "features": "predmesh.features.v1.FeatureService/LookupFeatures",
    "preprocessing": "predmesh.preprocessing.v1.PreprocessingService/Transform",
    "explanation": "predmesh.explanation.v1.ExplanationService/Explain",
    "inference": "inference.GRPCInferenceService/ModelInfer",
}
"""The one method of each stage that may be asked again: none has side effects."""


async def main(settings: Settings) -> None:
    """Serve until asked to end."""
    store, traced = Store(settings.store), bool(settings.otlp_endpoint)
    async with (
        connect(settings.features_address, safe_to_retry=[_SAFE["features"]], traced=traced) as features,
        connect(settings.preprocessing_address, safe_to_retry=[_SAFE["preprocessing"]], traced=traced) as preprocessing,
        connect(settings.triton_address, safe_to_retry=[_SAFE["inference"]], traced=traced) as inference,
        connect(settings.explanation_address, safe_to_retry=[_SAFE["explanation"]], traced=traced) as explanation,
        open_service(
            settings,
            store,
            features=features,
            preprocessing=preprocessing,
            inference=inference,
            explanation=explanation,
        ) as service,
    ):
        follower = Follower(
            store,
            service="prediction",
            instance=settings.instance,
            loader=service.loader,
            drain_seconds=settings.drain_seconds,
        )
        await serve(settings, service, follower)


if __name__ == "__main__":
    launch(main, Settings, "PREDICTION_")
