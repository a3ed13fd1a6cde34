"""One real mesh for the end-to-end tests: Envoy, Triton, Redis and the five services, serving the flights."""

import shutil
from collections.abc import Iterator

import pytest
from predmesh_testing.running import RunningMesh, free_port

from tests.parity import explaining
from tests.parity.rows import EXPLAINABLE, MODEL


@pytest.fixture(scope="session")
def flights_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    """A running mesh with the flights model, its features materialised; prediction and features have two workers."""
    mesh = RunningMesh(tmp_path_factory.mktemp("mesh"), free_port(), f"http://127.0.0.1:{free_port()}")
    try:
        mesh.predmesh("up", "--port", str(mesh.port), "--workers", "prediction=2,features=2,preprocessing=1")
        mesh.python("examples/flights/setup.py")
        yield mesh
    finally:
        mesh.predmesh("down")


@pytest.fixture(scope="module")
def parity_mesh(flights_mesh: RunningMesh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    """The same mesh, with the model that takes and gives every type, and the one that can be asked why."""
    folder = tmp_path_factory.mktemp("parity")
    for bundle in (MODEL, EXPLAINABLE):
        flights_mesh.predmesh("deploy", str(shutil.copytree(bundle, folder / bundle.name)))
    yield flights_mesh
    for model in ("parity", explaining.MODEL):
        flights_mesh.predmesh("undeploy", model)
