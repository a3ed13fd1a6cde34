"""Puts the explanation service together; the process and the mesh in one process use the same."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from predmesh.explanation.v1.explanation_service_pb2_grpc import add_ExplanationServiceServicer_to_server
from predmesh_bundle.store import Store
from predmesh_rpc.server import Dependency
from predmesh_rpc.workers import Workers

from predmesh_explanation.domain import STAGE
from predmesh_explanation.explaining import Explanations
from predmesh_explanation.servicer import ExplanationServicer
from predmesh_explanation.settings import Settings


@dataclass(frozen=True, slots=True)
class Service:
    """The explanation service, put together.

    Attributes:
        servicers: what a server is built of, with the generated function that adds each.
        loader: what a follower loads bundles into.
        health: what the service depends on: nothing.
    """

    servicers: list[tuple[Callable[..., None], Any]]
    loader: Explanations
    health: list[Dependency]


@asynccontextmanager
async def open_service(settings: Settings, store: Store) -> AsyncIterator[Service]:
    """The service, for the block; ready when its loader has loaded bundles."""
    async with Workers(STAGE, limit_rows=settings.limit_rows) as workers:
        explanations = Explanations(workers)
        servicer = ExplanationServicer(explanations)
        yield Service([(add_ExplanationServiceServicer_to_server, servicer)], explanations, [])
