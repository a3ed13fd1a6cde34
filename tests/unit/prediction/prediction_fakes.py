"""Fakes of the other services behind real stubs, and bundles for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from predmesh.explanation.v1 import explanation_service_pb2 as explanation_pb
from predmesh.explanation.v1.explanation_service_pb2_grpc import (
    ExplanationServiceServicer,
    add_ExplanationServiceServicer_to_server,
)
from predmesh.features.v1 import feature_service_pb2 as features_pb
from predmesh.features.v1.feature_service_pb2_grpc import FeatureServiceServicer, add_FeatureServiceServicer_to_server
from predmesh.prediction.v1.open_inference_http_service_pb2_grpc import OpenInferenceHttpServiceStub
from predmesh.prediction.v1.prediction_http_service_pb2_grpc import PredictionHttpServiceStub
from predmesh.prediction.v1.prediction_service_pb2_grpc import PredictionServiceStub
from predmesh.preprocessing.v1 import preprocessing_service_pb2 as preprocessing_pb
from predmesh.preprocessing.v1.preprocessing_service_pb2_grpc import (
    PreprocessingServiceServicer,
    add_PreprocessingServiceServicer_to_server,
)
from predmesh.type.v1 import frame_pb2
from predmesh_bundle.generation import Generation, LiveModel
from predmesh_bundle.read_plan import FeaturePlan, FeatureType, JoinKey, ReadPlan, ViewPlan
from predmesh_bundle.schema import Bundle
from predmesh_bundle.store import StoredBundle
from predmesh_compiler import contract
from predmesh_frame import Column, DataType, FrameError, oip
from predmesh_frame.wire import column_to_proto, frame_from_proto, tensor_from_proto, tensor_to_proto
from predmesh_prediction.catalogue import Catalogue
from predmesh_prediction.settings import Settings
from predmesh_prediction.wiring import open_service
from predmesh_rpc.errors import DependencyDown, FailedPrecondition, InvalidInput, NotFound, NotOffered
from predmesh_rpc.inprocess import InProcessChannel, InProcessServer
from predmesh_rpc.service import Service
from tritonclient.grpc import service_pb2 as oip_pb
from tritonclient.grpc.service_pb2_grpc import (
    GRPCInferenceServiceServicer,
    GRPCInferenceServiceStub,
    add_GRPCInferenceServiceServicer_to_server,
)

FLIGHT: dict[str, Any] = {
    "carrier": "AA",
    "origin": "JFK",
    "dest": "LAX",
    "tailnum": "N1",
    "scheduled_departure": "2013-12-31T18:30:00-05:00",
    "distance_miles": 2475.0,
}
"""A row that the flights bundle takes."""

FLIGHTS = Bundle.model_validate(
    {
        "name": "flight-delay",
        "version": "1",
        "owner": "ops@example.com",
        "description": "Whether a flight <arrives> late",
        "inputs": [
            {
                "name": "carrier",
                "type": "string",
                "categories": ["AA", "DL", "UA"],
                "entity_key": True,
                "example": "AA",
            },
            {
                "name": "origin",
                "type": "string",
                "categories": ["EWR", "JFK", "LGA"],
                "entity_key": True,
                "example": "JFK",
            },
            {"name": "dest", "type": "string", "entity_key": True, "example": "LAX"},
            {"name": "tailnum", "type": "string", "required": False, "entity_key": True, "example": "N1"},
            {"name": "scheduled_departure", "type": "timestamp", "example": "2013-12-31T18:30:00-05:00"},
            {
                "name": "distance_miles",
                "type": "double",
                "unit": "mi",
                "minimum": 0,
                "maximum": 10000,
                "example": 2475.0,
            },
        ],
        "features": {"repo": "features", "service": "flights_v1", "defaults": {"wind": 5.0}},
        "preprocessing": {"plugin": "prep:Prep"},
        "inference": {
            "framework": "xgboost",
            "file": "model.json",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [3], "feature_names": ["distance", "wind", "delay"]}],
            "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [2]}],
            "max_batch_rows": 64,
        },
        "outputs": [
            {
                "name": "late_probability",
                "type": "double",
                "tensor": "probabilities",
                "index": 1,
                "minimum": 0,
                "maximum": 1,
            }
        ],
        "explanation": {"method": "tree_shap", "output": "late_probability"},
        "budget": "5s",
    }
)
"""A bundle with every stage."""

DIGITS = Bundle.model_validate(
    {
        "name": "digits",
        "version": "1",
        "owner": "ops@example.com",
        "description": "Which digit an image shows",
        "inputs": [
            {
                "name": "image",
                "type": "float",
                "shape": [2, 2],
                "minimum": 0,
                "maximum": 16,
                "example": [[0, 1], [2, 3]],
            }
        ],
        "inference": {
            "framework": "onnx",
            "file": "model.onnx",
            "inputs": [{"name": "image", "datatype": "FP32", "shape": [2, 2]}],
            "outputs": [{"name": "scores", "datatype": "FP32", "shape": [3]}],
        },
        "outputs": [
            {"name": "digit", "type": "string", "tensor": "scores", "labels": ["zero", "one", "two"]},
            {"name": "scores", "type": "float", "tensor": "scores"},
        ],
        "budget": "5s",
    }
)
"""A bundle with nothing but a model."""


def _view(name: str, keys: tuple[str, ...], feature: str, default: float | None) -> ViewPlan:
    return ViewPlan(
        name=name,
        alias=name,
        join_keys=tuple(JoinKey(name=key, type=FeatureType.STRING, column=key) for key in keys),
        ttl_seconds=None,
        features=(FeaturePlan(name=feature, type=FeatureType.DOUBLE, default=default),),
    )


READ_PLAN = ReadPlan(
    project="flights",
    feature_service="flights_v1",
    entity_key_serialization_version=3,
    views=(_view("weather", ("origin",), "wind", 5.0), _view("route", ("origin", "dest"), "delay", None)),
    on_demand=(),
    features=("wind", "delay"),
)
"""The read plan of the flights bundle: wind by origin, delay by route."""


def stored(bundle: Bundle, folder: Path, hash: str = "0" * 12) -> StoredBundle:
    """*bundle* as the store would give it."""
    bundle_id = f"{bundle.name}-{bundle.version}-{hash}"
    home = folder / bundle_id
    (home / "compiled").mkdir(parents=True, exist_ok=True)
    if bundle.features is not None:
        (home / "compiled" / "read_plan.json").write_text(READ_PLAN.to_json())
    (home / "compiled" / "contract.binpb").write_bytes(contract(bundle).files.SerializeToString())
    return StoredBundle(bundle_id, home, bundle, datetime(2026, 1, 2, tzinfo=UTC), bundle_id)


def changed(bundle: Bundle, **parts: Any) -> Bundle:
    """*bundle* with other top-level *parts*, as in predmesh.yaml."""
    return Bundle.model_validate(bundle.model_dump(mode="json", by_alias=True) | parts)


@dataclass
class FakeFeatures(FeatureServiceServicer):
    """Wind is 7 everywhere; delay is 1.5 from JFK and unknown elsewhere."""

    requests: list[Any] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    down: bool = False
    unavailable: bool = False
    silent: bool = False
    forgetful: bool = False
    broken: bool = False
    read_ages: list[float] = field(default_factory=list)

    async def ListFeatureServices(self, request: Any, context: Any) -> Any:
        raise NotOffered("ERROR_REASON_UNSPECIFIED", "prediction asks for no list")

    async def PushFeatures(self, request: Any, context: Any) -> Any:
        raise NotOffered("ERROR_REASON_UNSPECIFIED", "prediction pushes nothing")

    async def LookupFeatures(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        self.seconds.append(context.time_remaining())
        if self.silent:
            await asyncio.Event().wait()
        if self.down:
            raise DependencyDown("ERROR_REASON_STORE_DOWN", "the online store does not answer", store="redis")
        keys = frame_from_proto(request.entity_keys)
        delay = [1.5 if origin == "JFK" else None for origin in keys.columns["origin"].to_list()]
        columns: dict[str, list[Any]] = {"wind": [7.0] * (keys.rows + self.broken), "delay": delay}
        if self.forgetful:
            del columns["delay"]
        status = features_pb.VALUE_STATUS_UNAVAILABLE if self.unavailable else features_pb.VALUE_STATUS_PRESENT
        made = [column_to_proto(name, Column.of(DataType.DOUBLE, values)) for name, values in columns.items()]
        return features_pb.LookupFeaturesResponse(
            features=frame_pb2.Frame(rows=keys.rows, columns=made),
            statuses=bytes([status]) * keys.rows * len(columns),
            read_age_seconds=self.read_ages,
        )


@dataclass
class FakePreprocessing(PreprocessingServiceServicer):
    """Puts distance, wind and delay side by side."""

    frames: list[Any] = field(default_factory=list)
    unknown: bool = False

    async def Transform(self, request: Any, context: Any) -> Any:
        if self.unknown:
            raise NotFound("ERROR_REASON_BUNDLE_UNKNOWN", "not loaded", bundle_id=request.bundle_id)
        try:
            frame = frame_from_proto(request.frame)
        except FrameError as error:
            raise InvalidInput("ERROR_REASON_INVALID_REQUEST", str(error)) from None
        self.frames.append(frame)
        names = ("distance_miles", "wind", "delay")
        values = [np.where(frame.columns[name].mask, frame.columns[name].values, np.nan) for name in names]
        tensor = np.stack(values, axis=1).astype(np.float32)
        return preprocessing_pb.TransformResponse(tensors=[tensor_to_proto("x", tensor)])


@dataclass
class FakeInference(GRPCInferenceServiceServicer):  # type: ignore[misc]
    """For flights, p = (wind + delay) / 100; for digits, the scores are the first three pixels."""

    batches: list[int] = field(default_factory=list)
    bundle_ids: list[str] = field(default_factory=list)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event | None = None
    failing: str = ""
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    is_ready: bool = True
    answer: Any = None
    """What the model answers with, whatever it is asked."""

    async def ServerLive(self, request: Any, context: Any) -> Any:
        return oip_pb.ServerLiveResponse(live=True)

    async def ModelReady(self, request: Any, context: Any) -> Any:
        return oip_pb.ModelReadyResponse(ready=self.is_ready)

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        spec = request.inputs[0]
        array = oip.from_raw(spec.datatype, spec.shape, request.raw_input_contents[0])
        self.batches.append(len(array))
        self.bundle_ids.append(request.model_name)
        self.entered.set()
        try:
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        if self.failing == "down":
            raise DependencyDown("ERROR_REASON_MODEL_SERVER_DOWN", "the model server does not answer")
        if self.failing:
            raise FailedPrecondition("ERROR_REASON_MODEL_FAILED", self.failing)
        return _answer(spec.name, array, self.answer)


def _answer(name: str, array: Any, instead: Any) -> Any:
    if name == "x":
        chance = np.nan_to_num(array[:, 1:]).sum(axis=1) / 100
        output, values = "probabilities", np.stack([1 - chance, chance], axis=1).astype(np.float32)
    else:
        output, values = "scores", array.reshape(len(array), -1)[:, :3].astype(np.float32)
    values = values if instead is None else instead
    response = oip_pb.ModelInferResponse(model_name="m", raw_output_contents=[oip.to_raw(values)])
    response.outputs.add(name=output, datatype="FP32", shape=values.shape)
    return response


@dataclass
class FakeExplanation(ExplanationServiceServicer):
    """Each feature moves the answer by its value; the base value is 0.25."""

    down: bool = False
    requests: list[Any] = field(default_factory=list)

    async def Explain(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        if self.down:
            raise DependencyDown("ERROR_REASON_STAGE_DOWN", "explanation does not answer")
        _, values = tensor_from_proto(request.tensors[0])
        moved = np.nan_to_num(values).astype("<f8")
        return explanation_pb.ExplainResponse(
            method=explanation_pb.EXPLANATION_METHOD_TREE_SHAP,
            space=explanation_pb.ATTRIBUTION_SPACE_LOGIT,
            feature_names=["distance", "wind", "delay"],
            base_values=[0.25] * len(moved),
            contributions=moved.tobytes(),
        )


@dataclass
class Mesh:
    """The prediction service with fakes around it."""

    service: Service[Catalogue]
    folder: Path
    features: FakeFeatures
    preprocessing: FakePreprocessing
    inference: FakeInference
    explanation: FakeExplanation
    channel: grpc.aio.Channel
    number: int = 0

    @property
    def prediction(self) -> Any:
        return PredictionServiceStub(self.channel)

    @property
    def http(self) -> Any:
        return PredictionHttpServiceStub(self.channel)

    @property
    def oip(self) -> Any:
        return GRPCInferenceServiceStub(self.channel)

    @property
    def oip_http(self) -> Any:
        return OpenInferenceHttpServiceStub(self.channel)

    async def deploy(self, *bundles: Bundle) -> None:
        """Make *bundles* the live generation; the last version of each name is its default."""
        each = [stored(bundle, self.folder, f"{self.number:012d}") for bundle in bundles]
        for one in each:
            await self.service.loader.load(one)
        self.number += 1
        last = {bundle.name: bundle.version for bundle in bundles}
        models = tuple(
            LiveModel(
                name=one.bundle.name,
                version=one.bundle.version,
                bundle_id=one.bundle_id,
                default=last[one.bundle.name] == one.bundle.version,
            )
            for one in each
        )
        await self.service.loader.flip(Generation(number=self.number, models=models))


@asynccontextmanager
async def open_mesh(folder: Path, **settings: Any) -> AsyncIterator[Mesh]:
    """The prediction service in this process, with fakes around it and nothing deployed."""
    features, preprocessing, explanation = FakeFeatures(), FakePreprocessing(), FakeExplanation()
    inference = FakeInference()
    given = Settings(service="prediction", home=folder, **settings)
    async with open_service(
        given,
        {
            "features": _channel(add_FeatureServiceServicer_to_server, features),
            "preprocessing": _channel(add_PreprocessingServiceServicer_to_server, preprocessing),
            "inference": _channel(add_GRPCInferenceServiceServicer_to_server, inference),
            "explanation": _channel(add_ExplanationServiceServicer_to_server, explanation),
        },
    ) as service:
        server = InProcessServer(service.servicers)
        yield Mesh(service, folder, features, preprocessing, inference, explanation, InProcessChannel(server))
        await server.stop()


def _channel(add: Any, servicer: Any) -> InProcessChannel:
    return InProcessChannel(InProcessServer([(add, servicer)]))
