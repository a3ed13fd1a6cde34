"""Puts the inference service together; the process and the mesh in one process use the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from predmesh.inference.v1.model_service_pb2_grpc import add_ModelServiceServicer_to_server
from predmesh_bundle.store import Store
from predmesh_rpc.channels import connect
from predmesh_rpc.health import Dependency
from predmesh_rpc.service import Service
from predmesh_rpc.table import Registration
from tritonclient.grpc.service_pb2_grpc import add_GRPCInferenceServiceServicer_to_server

from predmesh_inference.agent import Agent, AgentLimits
from predmesh_inference.devices import count_gpus
from predmesh_inference.domain import ModelServer
from predmesh_inference.installation import find
from predmesh_inference.local import LocalInferenceServicer
from predmesh_inference.local_server import LocalServer
from predmesh_inference.planning import plan
from predmesh_inference.repository import Repository
from predmesh_inference.servicer import ModelServicer
from predmesh_inference.settings import IN_PROCESS, Settings
from predmesh_inference.triton_server import TritonLimits, TritonServer


@dataclass(frozen=True, slots=True)
class _Engine:
    name: str
    server: ModelServer
    servicers: list[Registration]
    native: Collection[str] = ()
    gpus: int = 0


@asynccontextmanager
async def open_service(settings: Settings, store: Store) -> AsyncIterator[Service[Agent]]:
    """The service over the Triton that *settings* name, or over models in this process; for the block."""
    limits = AgentLimits(
        watch_seconds=settings.watch_seconds,
        probe_seconds=settings.probe_seconds,
        server_seconds=settings.server_seconds,
    )
    async with (
        _engine(settings) as engine,
        Agent(
            engine.server, partial(plan, native=engine.native, gpus=engine.gpus), limits, lambda: datetime.now(UTC)
        ) as agent,
    ):
        servicers = [(add_ModelServiceServicer_to_server, ModelServicer(agent, store)), *engine.servicers]
        # One model that cannot run leaves the others served, so that it does not take the whole down.
        models = Dependency("models", agent.check_models, required=False)
        yield Service(servicers, agent, [Dependency(engine.name, agent.check_server), models])


@asynccontextmanager
async def _engine(settings: Settings) -> AsyncIterator[_Engine]:
    if settings.triton_address == IN_PROCESS:
        local = LocalServer(limit_rows=settings.limit_rows)
        try:
            servicer = LocalInferenceServicer(local)
            yield _Engine("runtime", local, [(add_GRPCInferenceServiceServicer_to_server, servicer)])
        finally:
            local.close()
        return
    native = _native_backends() if settings.native_backends else frozenset()
    limits = TritonLimits(load_seconds=settings.load_seconds, unload_seconds=settings.unload_seconds)
    gpus = settings.gpus if settings.gpus >= 0 else await asyncio.to_thread(count_gpus)
    async with connect(settings.triton_address) as channel:
        repository = Repository(settings.triton_repository)
        server = TritonServer(channel, settings.triton_address, repository, limits, native)
        yield _Engine("triton", server, [], native, gpus)


def _native_backends() -> frozenset[str]:
    """Backends of the Triton of this machine; none where Triton runs elsewhere."""
    try:
        return find().native
    except FileNotFoundError:
        return frozenset()
