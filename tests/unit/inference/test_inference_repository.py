"""Triton's repository: it holds all that a model reads, and nothing else."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from predmesh_inference.planning import plan
from predmesh_inference.repository import Repository

from tests.unit.inference.inference_fakes import stored


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    (folder / "compiled").mkdir(parents=True)
    for name in ("model.ubj", "predmesh.yaml", "compiled/bundle.json"):
        (folder / name).write_text(name)
    return folder


@pytest.fixture(params=[None, "/dev/shm"], ids=["where the store is", "on another file system"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Repository]:
    with tempfile.TemporaryDirectory(dir=request.param or tmp_path) as folder:
        yield Repository(Path(folder))


def held(repository: Repository, name: str) -> list[str]:
    """The files that Triton has of a bundle."""
    folder = repository.folder(name) / "1" / "bundle"
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_model_gets_its_own_file_alone_and_keeps_it_when_the_bundle_goes(
    repository: Repository, bundle: Path
) -> None:
    model = plan(stored(folder=bundle, framework="xgboost", file="model.ubj"), native=(), gpus=0)
    repository.write(model, "predmesh")
    shutil.rmtree(bundle)
    assert held(repository, model.name) == ["model.ubj"]
    assert (repository.folder(model.name) / "1" / "bundle" / "model.ubj").read_text() == "model.ubj"


def test_code_gets_its_whole_bundle(repository: Repository, bundle: Path) -> None:
    model = plan(stored(folder=bundle, framework="python", file="model.ubj"), native=(), gpus=0)
    repository.write(model, "predmesh")
    assert held(repository, model.name) == ["compiled/bundle.json", "model.ubj", "predmesh.yaml"]


def test_what_is_there_already_is_not_written_again(repository: Repository, bundle: Path) -> None:
    model = plan(stored(folder=bundle, framework="xgboost", file="model.ubj"), native=(), gpus=0)
    repository.write(model, "predmesh")
    folder = repository.folder(model.name)
    before = {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}
    twin = plan(stored(folder=bundle, version="2", framework="xgboost", file="model.ubj"), native=(), gpus=0)
    repository.write(twin, "predmesh")
    assert {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))} == before


def test_what_was_left_half_written_is_written_anew(repository: Repository, bundle: Path) -> None:
    model = plan(stored(folder=bundle, framework="xgboost", file="model.ubj"), native=(), gpus=0)
    draft = repository.folder(model.name) / "1" / ".bundle"
    draft.mkdir(parents=True)
    (draft / "half").touch()
    repository.write(model, "predmesh")
    assert held(repository, model.name) == ["model.ubj"]
    assert repository.names() == [model.name]
