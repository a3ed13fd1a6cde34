"""The prediction service with fakes around it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.prediction.prediction_fakes import DIGITS, FLIGHTS, Mesh, open_mesh


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    """The service with flights and digits live."""
    async with open_mesh(tmp_path) as mesh:
        await mesh.deploy(FLIGHTS, DIGITS)
        yield mesh
