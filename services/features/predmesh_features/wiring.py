"""Puts the features service together; the process and the mesh in one process use the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from predmesh.features.v1.feature_service_pb2_grpc import add_FeatureServiceServicer_to_server
from predmesh_bundle.store import Store
from predmesh_rpc.health import Dependency
from predmesh_rpc.service import Service

from predmesh_features.catalogue import Catalogue
from predmesh_features.feast_redis import FeastRedis
from predmesh_features.feast_redis_cluster import FeastRedisCluster
from predmesh_features.mesh_clock import MeshClock
from predmesh_features.servicer import FeatureServicer
from predmesh_features.settings import Settings


@asynccontextmanager
async def open_service(settings: Settings, store: Store) -> AsyncIterator[Service[Catalogue]]:
    """The service over the Redis that *settings* name, for the block; ready when its loader has loaded bundles."""
    catalogue = Catalogue()
    kind = FeastRedisCluster if settings.read_address.seeds else FeastRedis
    connected = kind.connect(settings.read_address, settings.write_address, settings.link_options)
    async with connected as online:
        yield Service(
            servicers=[(add_FeatureServiceServicer_to_server, FeatureServicer(catalogue, online, MeshClock(store)))],
            loader=catalogue,
            health=[Dependency("redis", online.ping)],
        )
