"""Puts the service together out of its parts, on whatever channels the other services are reached by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from predmesh.prediction.v1.open_inference_http_service_pb2_grpc import add_OpenInferenceHttpServiceServicer_to_server
from predmesh.prediction.v1.prediction_http_service_pb2_grpc import add_PredictionHttpServiceServicer_to_server
from predmesh.prediction.v1.prediction_service_pb2_grpc import add_PredictionServiceServicer_to_server
from predmesh_bundle.schema import Stage
from predmesh_rpc.errors import DependencyDown
from predmesh_rpc.health import Dependency
from predmesh_rpc.service import Service
from predmesh_rpc.table import Registration, add_generic_handler
from tritonclient.grpc.service_pb2_grpc import add_GRPCInferenceServiceServicer_to_server

from predmesh_prediction.batching import Limits
from predmesh_prediction.catalogue import Catalogue
from predmesh_prediction.explanation_stub import StubExplanation
from predmesh_prediction.features_stub import StubFeatures
from predmesh_prediction.http_servicer import PredictionHttpServicer
from predmesh_prediction.oip_http_servicer import OpenInferenceHttpServicer
from predmesh_prediction.oip_servicer import OpenInferenceServicer
from predmesh_prediction.oip_stub import StubInference
from predmesh_prediction.places import STAGES, Opener, Places, Reached
from predmesh_prediction.predicting import Predictor
from predmesh_prediction.preprocessing_stub import StubPreprocessing
from predmesh_prediction.servicer import PredictionServicer
from predmesh_prediction.settings import Settings
from predmesh_prediction.typed_services import TypedServices


@asynccontextmanager
async def open_service(
    settings: Settings,
    channels: Mapping[Stage, grpc.aio.Channel],
    *,
    remote: Mapping[Stage, grpc.aio.Channel] | None = None,
    openers: Mapping[Stage, Opener] | None = None,
) -> AsyncIterator[Service[Catalogue]]:
    """The service; leaving it waits for the batches under way.

    Args:
        settings: limits; addresses are not looked at.
        channels: to the service of each stage on this machine; inference speaks the Open Inference Protocol.
        remote: to the services elsewhere, where there are any.
        openers: what can be opened in this process.
    """
    places = Places(
        {stage: _reached(stage, channels[stage]) for stage in STAGES},
        {stage: _reached(stage, channel) for stage, channel in (remote or {}).items()},
        openers or {},
    )
    limits = Limits(
        settings.max_batch_rows, settings.max_queue_rows, settings.batches_in_flight, settings.max_queue_bytes
    )
    async with places, asyncio.TaskGroup() as tasks:
        predictor = Predictor(Catalogue(places, limits, tasks))
        # Not required: what a stage's trouble means is each bundle's policy, and callers are told of it.
        health = [Dependency(stage, partial(places.check, stage), required=False) for stage in STAGES]
        yield Service(_servicers(predictor, settings), predictor.catalogue, health)


def _servicers(predictor: Predictor, settings: Settings) -> list[Registration]:
    prediction = PredictionServicer(predictor, stream_window=settings.stream_window)
    return [
        (add_PredictionServiceServicer_to_server, prediction),
        (
            add_PredictionHttpServiceServicer_to_server,
            PredictionHttpServicer(predictor, stream_window=settings.stream_window),
        ),
        (
            add_GRPCInferenceServiceServicer_to_server,
            OpenInferenceServicer(predictor, stream_window=settings.stream_window),
        ),
        (add_OpenInferenceHttpServiceServicer_to_server, OpenInferenceHttpServicer(predictor)),
        (add_generic_handler, TypedServices(predictor, stream_window=settings.stream_window)),
    ]


_STUBS: dict[Stage, Callable[[grpc.aio.Channel], Any]] = {
    "features": StubFeatures,
    "preprocessing": StubPreprocessing,
    "explanation": StubExplanation,
}


def _reached(stage: Stage, channel: grpc.aio.Channel) -> Reached:
    if stage == "inference":
        model_server = StubInference(channel)
        return Reached(model_server, _live(model_server))
    return Reached(_STUBS[stage](channel), _answers(stage, channel))


def _answers(stage: Stage, channel: grpc.aio.Channel) -> Callable[[], Awaitable[None]]:
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

    return check


def _live(model_server: StubInference) -> Callable[[], Awaitable[None]]:
    async def check() -> None:
        if not await model_server.live():
            raise DependencyDown("ERROR_REASON_MODEL_SERVER_DOWN", "the model server does not answer")

    return check
