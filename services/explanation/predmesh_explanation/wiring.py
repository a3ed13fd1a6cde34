"""Puts the explanation service together; the process and the mesh in one process use the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from predmesh.explanation.v1.explanation_service_pb2_grpc import add_ExplanationServiceServicer_to_server
from predmesh_bundle.store import Store
from predmesh_rpc.service import Service
from predmesh_rpc.workers import Workers

from predmesh_explanation.domain import STAGE
from predmesh_explanation.explaining import Explanations
from predmesh_explanation.servicer import ExplanationServicer
from predmesh_explanation.settings import Settings


@asynccontextmanager
async def open_service(settings: Settings, store: Store) -> AsyncIterator[Service[Explanations]]:
    """The service, for the block; ready when its loader has loaded bundles."""
    async with Workers(STAGE, limit_rows=settings.limit_rows) as workers:
        explanations = Explanations(workers)
        servicer = ExplanationServicer(explanations)
        yield Service([(add_ExplanationServiceServicer_to_server, servicer)], explanations)
