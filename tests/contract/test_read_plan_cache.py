"""What Feast made of definitions is used again as long as they are the same."""

import shutil
import subprocess
from pathlib import Path

import pytest
from predmesh_bundle import plan_cache
from predmesh_bundle.feast_compiler import compile_read_plan

REPO = Path(__file__).parent / "features_repo"
SERVICE = "golden"


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(plan_cache.FOLDER_VARIABLE, str(tmp_path / "cache"))
    return Path(shutil.copytree(REPO, tmp_path / "repo"))


def without_feast(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("Feast was started")

    monkeypatch.setattr(subprocess, "run", refused)


def test_the_same_definitions_are_read_once(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = compile_read_plan(repo, SERVICE)
    without_feast(monkeypatch)
    assert compile_read_plan(repo, SERVICE) == plan
    with pytest.raises(AssertionError, match="Feast was started"):
        compile_read_plan(repo, "another_service")
    (repo / "definitions.py").write_text((repo / "definitions.py").read_text() + "\n# changed\n")
    with pytest.raises(AssertionError, match="Feast was started"):
        compile_read_plan(repo, SERVICE)


def test_a_damaged_or_unwritable_cache_is_none(repo: Path) -> None:
    plan = compile_read_plan(repo, SERVICE)
    path = plan_cache.kept_path(repo, SERVICE)
    assert path is not None
    path.write_text("{")
    assert compile_read_plan(repo, SERVICE) == plan
    assert plan_cache.kept(path) == plan.to_json()
    shutil.rmtree(path.parent)
    path.parent.write_text("in the way")
    assert compile_read_plan(repo, SERVICE) == plan


def test_definitions_that_lie_elsewhere_too_are_not_kept(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "shared_names.py").write_text("NAME = 'wind'\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "elsewhere"))
    definitions = repo / "definitions.py"
    definitions.write_text(definitions.read_text() + "\nimport shared_names\n")
    compile_read_plan(repo, SERVICE)
    path = plan_cache.kept_path(repo, SERVICE)
    assert path is not None
    assert not path.exists()
