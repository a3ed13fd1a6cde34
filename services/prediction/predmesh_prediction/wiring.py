"""Puts the service together out of its parts, on whatever channels the other services are reached by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from predmesh.prediction.v1.open_inference_http_service_pb2_grpc import add_OpenInferenceHttpServiceServicer_to_server
from predmesh.prediction.v1.prediction_http_service_pb2_grpc import add_PredictionHttpServiceServicer_to_server
from predmesh.prediction.v1.prediction_service_pb2_grpc import add_PredictionServiceServicer_to_server
from predmesh_bundle.store import Store
from predmesh_rpc.errors import DependencyDown
from predmesh_rpc.health import Dependency
from predmesh_rpc.service import Service
from predmesh_rpc.table import Registration
from tritonclient.grpc.service_pb2_grpc import add_GRPCInferenceServiceServicer_to_server

from predmesh_prediction.batching import Limits
from predmesh_prediction.catalogue import Catalogue
from predmesh_prediction.domain import Stages
from predmesh_prediction.explanation_stub import StubExplanation
from predmesh_prediction.features_stub import StubFeatures
from predmesh_prediction.http_servicer import PredictionHttpServicer
from predmesh_prediction.oip_http_servicer import OpenInferenceHttpServicer
from predmesh_prediction.oip_servicer import OpenInferenceServicer
from predmesh_prediction.oip_stub import StubInference
from predmesh_prediction.predicting import Predictor
from predmesh_prediction.preprocessing_stub import StubPreprocessing
from predmesh_prediction.servicer import PredictionServicer
from predmesh_prediction.settings import Settings


@asynccontextmanager
async def open_service(
    settings: Settings,
    store: Store,
    *,
    features: grpc.aio.Channel,
    preprocessing: grpc.aio.Channel,
    inference: grpc.aio.Channel,
    explanation: grpc.aio.Channel,
) -> AsyncIterator[Service[Catalogue]]:
    """The service on *store*'s bundles; leaving it waits for the batches under way.

    Args:
        settings: limits; addresses are not looked at.
        store: where the follower takes bundles from.
        features: channel to FeatureService.
        preprocessing: channel to PreprocessingService.
        inference: channel to a server that speaks the Open Inference Protocol.
        explanation: channel to ExplanationService.
    """
    model_server = StubInference(inference)
    stages = Stages(
        StubFeatures(features), StubPreprocessing(preprocessing), model_server, StubExplanation(explanation)
    )
    limits = Limits(settings.max_batch_rows, settings.max_queue_rows, settings.batches_in_flight)
    async with asyncio.TaskGroup() as tasks:
        predictor = Predictor(Catalogue(stages, limits, tasks))
        yield Service(
            _servicers(predictor, settings, model_server),
            predictor.catalogue,
            [
                _answers("features", features),
                _answers("preprocessing", preprocessing),
                _answers("explanation", explanation),
                Dependency("inference", _live(model_server), required=False),
            ],
        )


def _servicers(predictor: Predictor, settings: Settings, model_server: StubInference) -> list[Registration]:
    prediction = PredictionServicer(predictor, stream_window=settings.stream_window)
    return [
        (add_PredictionServiceServicer_to_server, prediction),
        (add_PredictionHttpServiceServicer_to_server, PredictionHttpServicer(predictor)),
        (add_GRPCInferenceServiceServicer_to_server, OpenInferenceServicer(predictor, model_server)),
        (add_OpenInferenceHttpServiceServicer_to_server, OpenInferenceHttpServicer(predictor, model_server)),
    ]


def _answers(stage: str, channel: grpc.aio.Channel) -> Dependency:
    stub = health_pb2_grpc.HealthStub(channel)

    async def check() -> None:
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest())
        except grpc.aio.AioRpcError as error:
            # A server in this process has no health service, and lives as long as this one.
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return
            raise DependencyDown("ERROR_REASON_STAGE_DOWN", f"{stage} does not answer", stage=stage) from None
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise DependencyDown("ERROR_REASON_STAGE_DOWN", f"{stage} is not serving", stage=stage)

    # Not required: what a stage's trouble means is each bundle's policy, and callers are told of it.
    return Dependency(stage, check, required=False)


def _live(model_server: StubInference) -> Callable[[], Awaitable[None]]:
    async def check() -> None:
        if not await model_server.live():
            raise DependencyDown("ERROR_REASON_MODEL_SERVER_DOWN", "the model server does not answer")

    return check
