"""What every test needs."""

import os

import pytest
from predmesh_bundle.plan_cache import FOLDER_VARIABLE


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keeps what tests cache out of the user's folder; the processes that they start inherit it."""
    os.environ[FOLDER_VARIABLE] = str(tmp_path_factory.mktemp("cache"))
