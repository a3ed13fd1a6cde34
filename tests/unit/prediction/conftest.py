"""The prediction service with fakes around it."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from predmesh_rpc.server import build
from predmesh_rpc.settings import ServiceSettings

from tests.unit.prediction.prediction_fakes import DIGITS, FLIGHTS, Mesh, open_mesh


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    """The service with flights and digits live."""
    async with open_mesh(tmp_path) as mesh:
        await mesh.deploy(FLIGHTS, DIGITS)
        yield mesh


@pytest.fixture
async def front(mesh: Mesh) -> AsyncIterator[httpx.AsyncClient]:
    """A client of what the gateway calls of `mesh`."""
    settings = ServiceSettings(address="127.0.0.1:0", grace_seconds=0)
    async with (
        build(settings, mesh.service.servicers) as server,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", http1=False, http2=True) as client,
    ):
        yield client
