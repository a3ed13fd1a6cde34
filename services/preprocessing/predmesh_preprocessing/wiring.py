"""Puts the preprocessing service together; the process and the mesh in one process use the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from predmesh.preprocessing.v1.preprocessing_service_pb2_grpc import add_PreprocessingServiceServicer_to_server
from predmesh_bundle.store import Store
from predmesh_rpc.service import Service
from predmesh_rpc.workers import Workers

from predmesh_preprocessing.domain import STAGE
from predmesh_preprocessing.preprocessor import Preprocessor
from predmesh_preprocessing.servicer import PreprocessingServicer
from predmesh_preprocessing.settings import Settings


@asynccontextmanager
async def open_service(settings: Settings, store: Store) -> AsyncIterator[Service[Preprocessor]]:
    """The service, for the block; ready when its loader has loaded bundles."""
    async with Workers(STAGE, limit_rows=settings.limit_rows) as graphs:
        preprocessor = Preprocessor(
            graphs, inline_max_rows=settings.inline_max_rows, plugin_limit_rows=settings.limit_rows
        )
        servicer = PreprocessingServicer(preprocessor)
        try:
            yield Service([(add_PreprocessingServiceServicer_to_server, servicer)], preprocessor)
        finally:
            preprocessor.close()
