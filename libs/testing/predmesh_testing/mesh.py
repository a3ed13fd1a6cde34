"""The whole mesh in one process: every service as its own wiring opens it, with sockets between them or without."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import predmesh_explanation.settings
import predmesh_explanation.stage
import predmesh_explanation.wiring
import predmesh_features.settings
import predmesh_features.stage
import predmesh_features.wiring
import predmesh_inference.settings
import predmesh_inference.stage
import predmesh_inference.wiring
import predmesh_prediction.settings
import predmesh_prediction.wiring
import predmesh_preprocessing.settings
import predmesh_preprocessing.stage
import predmesh_preprocessing.wiring
from predmesh.explanation.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from predmesh.features.v1.feature_service_pb2_grpc import FeatureServiceStub
from predmesh.inference.v1.model_service_pb2_grpc import ModelServiceStub
from predmesh.prediction.v1.open_inference_http_service_pb2_grpc import OpenInferenceHttpServiceStub
from predmesh.prediction.v1.prediction_http_service_pb2_grpc import PredictionHttpServiceStub
from predmesh.prediction.v1.prediction_service_pb2_grpc import PredictionServiceStub
from predmesh.preprocessing.v1.preprocessing_service_pb2_grpc import PreprocessingServiceStub
from predmesh_bundle.deploying import deploy, undeploy
from predmesh_bundle.follower import Follower
from predmesh_bundle.generation import Generation
from predmesh_bundle.schema import Stage
from predmesh_bundle.stages import Opened, Outside
from predmesh_bundle.store import Store
from predmesh_compiler import typed_compiler
from predmesh_rpc.channels import Channel, connect
from predmesh_rpc.inprocess import InProcessChannel, InProcessServer
from predmesh_rpc.server import build
from predmesh_rpc.service import Service, settle
from predmesh_rpc.settings import ServiceSettings
from predmesh_rpc.table import Limits
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

if TYPE_CHECKING:
    from predmesh.explanation.v1.explanation_service_pb2_grpc import ExplanationServiceAsyncStub
    from predmesh.features.v1.feature_service_pb2_grpc import FeatureServiceAsyncStub
    from predmesh.inference.v1.model_service_pb2_grpc import ModelServiceAsyncStub
    from predmesh.prediction.v1.open_inference_http_service_pb2_grpc import OpenInferenceHttpServiceAsyncStub
    from predmesh.prediction.v1.prediction_http_service_pb2_grpc import PredictionHttpServiceAsyncStub
    from predmesh.prediction.v1.prediction_service_pb2_grpc import PredictionServiceAsyncStub
    from predmesh.preprocessing.v1.preprocessing_service_pb2_grpc import PreprocessingServiceAsyncStub

IN_PROCESS = predmesh_inference.settings.IN_PROCESS

Transport = Literal["in-process", "unix"]
"""How the services reach one another: by plain calls, or through real servers on unix sockets."""


_OPENED: dict[Stage, Callable[[Any, Store], AbstractAsyncContextManager[Opened[Any]]]] = {
    "features": predmesh_features.stage.open_stage,
    "preprocessing": predmesh_preprocessing.stage.open_stage,
    "inference": predmesh_inference.stage.open_stage,
    "explanation": predmesh_explanation.stage.open_stage,
}
_OUTSIDE: tuple[Stage, ...] = ("preprocessing", "inference", "explanation")


@dataclass(frozen=True)
class Mesh:
    """A running mesh.

    Attributes:
        store: its bundles and generations.
        channels: a channel to each service, by name: prediction, features, preprocessing, inference, explanation.
        services: what each service's wiring opened, by name.
        followers: what keeps each service at the live generation, by name.
    """

    store: Store
    channels: dict[str, Channel]
    services: dict[str, Service[Any]]
    followers: dict[str, Follower]

    @property
    def prediction(self) -> PredictionServiceAsyncStub:
        """Predictions by generated messages."""
        return PredictionServiceStub(self.channels["prediction"])

    @property
    def prediction_http(self) -> PredictionHttpServiceAsyncStub:
        """Predictions by JSON bodies, as the gateway asks for them."""
        return PredictionHttpServiceStub(self.channels["prediction"])

    @property
    def open_inference(self) -> Any:
        """Predictions by the Open Inference Protocol (a GRPCInferenceServiceStub)."""
        return GRPCInferenceServiceStub(self.channels["prediction"])

    @property
    def open_inference_http(self) -> OpenInferenceHttpServiceAsyncStub:
        """The Open Inference Protocol by JSON bodies, as the gateway asks for them."""
        return OpenInferenceHttpServiceStub(self.channels["prediction"])

    @property
    def features(self) -> FeatureServiceAsyncStub:
        """The features service."""
        return FeatureServiceStub(self.channels["features"])

    @property
    def preprocessing(self) -> PreprocessingServiceAsyncStub:
        """The preprocessing service."""
        return PreprocessingServiceStub(self.channels["preprocessing"])

    @property
    def models(self) -> ModelServiceAsyncStub:
        """The life of models."""
        return ModelServiceStub(self.channels["inference"])

    @property
    def explanation(self) -> ExplanationServiceAsyncStub:
        """The explanation service."""
        return ExplanationServiceStub(self.channels["explanation"])

    async def deploy(self, folder: Path, **options: Any) -> Generation:
        """Bring the bundle in *folder* live, as `predmesh deploy` does; *options* are those of `deploy`."""
        return await asyncio.to_thread(
            partial(deploy, self.store, folder, compiler=typed_compiler(self.store), **options)
        )

    async def undeploy(self, name: str, version: str | None = None) -> Generation:
        """Take a model out, as `predmesh undeploy` does."""
        return await asyncio.to_thread(undeploy, self.store, name, version)

    async def ready(self, timeout_seconds: float = 60.0) -> None:
        """Return once every service serves the live generation; what is missing is in the error.

        Raises:
            TimeoutError: one does not.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                while not all(each.ready() for each in self.followers.values()):  # noqa: ASYNC110 - the store is polled
                    await asyncio.sleep(0.01)
        except TimeoutError:
            problems = {name: each.problem() for name, each in self.followers.items() if not each.ready()}
            raise TimeoutError(f"not ready: {problems}") from None


@asynccontextmanager
async def running_mesh(
    store: Store,
    redis_url: str | None = None,
    *,
    transport: Transport = "in-process",
    triton_address: str = IN_PROCESS,
    triton_repository: Path | None = None,
    drain_seconds: float = 0.1,
    settings: dict[str, dict[str, Any]] | None = None,
) -> AsyncIterator[Mesh]:
    """A mesh on *store* for the block; it catches up with what is live there, and deploys what it is told.

    Args:
        store: bundles and generations.
        redis_url: the online store; without one, a lookup fails as it does when Redis is down.
        transport: how the services reach one another.
        triton_address: a Triton to run models on, ``unix:/path``; in this process by default.
        triton_repository: that Triton's model repository.
        drain_seconds: how long a bundle stays loaded after the routes left it.
        settings: further settings by service, e.g. ``{"prediction": {"batches_in_flight": 2}}``.
    """
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="predmesh-")))
        opening = _Opening(stack, store, home, transport, drain_seconds, settings or {})
        nowhere = f"unix://{home}/no-redis.sock"
        await opening.features(redis_url or nowhere)
        await opening.open(predmesh_preprocessing.settings.Settings, predmesh_preprocessing.wiring, "preprocessing")
        await opening.open(predmesh_explanation.settings.Settings, predmesh_explanation.wiring, "explanation")
        await opening.inference(triton_address, triton_repository or home / "triton")
        await opening.prediction(triton_address)
        settle()
        yield opening.mesh


class _Opening:
    """Opens one service after the other, each on the channels of those before it."""

    def __init__(
        self,
        stack: AsyncExitStack,
        store: Store,
        home: Path,
        transport: Transport,
        drain_seconds: float,
        settings: dict[str, dict[str, Any]],
    ) -> None:
        self.mesh = Mesh(store, {}, {}, {})
        self._stack = stack
        self._home = home
        self._transport = transport
        self._drain_seconds = drain_seconds
        self._settings = settings
        self._stages: dict[str, ServiceSettings] = {}

    async def features(self, redis_url: str) -> None:
        wiring = predmesh_features.wiring
        await self.open(predmesh_features.settings.Settings, wiring, "features", redis_url=redis_url)

    async def inference(self, triton_address: str, repository: Path) -> None:
        kind, wiring = predmesh_inference.settings.Settings, predmesh_inference.wiring
        await self.open(kind, wiring, "inference", triton_address=triton_address, triton_repository=repository, gpus=0)

    async def prediction(self, triton_address: str) -> None:
        channels: dict[Stage, Channel] = {stage: self.mesh.channels[stage] for stage in get_args(Stage)}
        if triton_address != IN_PROCESS:
            channels["inference"] = await self._stack.enter_async_context(connect(f"h2+{triton_address}"))
        settings = self._made(predmesh_prediction.settings.Settings, "prediction")
        service = await self._stack.enter_async_context(
            predmesh_prediction.wiring.open_service(
                settings, channels, openers={stage: self._opener(stage) for stage in channels}
            )
        )
        await self._serve("prediction", settings, service)

    async def open(self, kind: type[Any], wiring: Any, name: str, **given: Any) -> None:
        settings = self._stages[name] = self._made(kind, name, **given)
        service = await self._stack.enter_async_context(wiring.open_service(settings, self.mesh.store))
        await self._serve(name, settings, service)

    def _opener(self, stage: Stage) -> Callable[[], AbstractAsyncContextManager[Opened[Any]]]:
        """Opens *stage* in prediction's process, with the settings of its service."""
        return lambda: _OPENED[stage](self._stages[stage], self.mesh.store)

    def _made(self, kind: Callable[..., Any], name: str, **given: Any) -> Any:
        defaults = {"service": name, "instance": f"{name}-1", "home": self._home, "store": self.mesh.store.root}
        # A whole mesh on two busy cores, and perhaps a debugger: slowness is not what these tests are about.
        generous = {"default_deadline_seconds": 30.0, "grace_seconds": 1.0}
        return kind(**{**defaults, **generous, **given, **self._settings.get(name, {})})

    async def _serve(self, name: str, settings: ServiceSettings, service: Service[Any]) -> None:
        self.mesh.services[name] = service
        self.mesh.channels[name] = await self._reached(settings, service)
        self.mesh.followers[name] = await self._stack.enter_async_context(
            Follower(
                self.mesh.store,
                service=name,
                instance=settings.instance,
                loader=Outside(name, service.loader) if name in _OUTSIDE else service.loader,
                poll_seconds=0.02,
                drain_seconds=self._drain_seconds,
            )
        )

    async def _reached(self, settings: ServiceSettings, service: Service[Any]) -> Channel:
        if self._transport == "unix":
            await self._stack.enter_async_context(build(settings, service.servicers, service.health))
            return await self._stack.enter_async_context(connect(settings.address))
        limits = Limits(settings.default_deadline_seconds, settings.stream_deadline_seconds, settings.max_message_bytes)
        server = InProcessServer(service.servicers, limits)
        self._stack.push_async_callback(server.stop, settings.grace_seconds)
        return InProcessChannel(server)
