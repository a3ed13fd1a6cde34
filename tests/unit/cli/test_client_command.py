"""`predmesh client`, as a script uses it."""

import json
import shutil
from pathlib import Path

import pytest
from predmesh_cli.commands.clients import app
from predmesh_cli.errors import CliError, ExitCode
from typer.testing import CliRunner, Result

BUNDLE = Path(__file__).parents[3] / "examples" / "flights" / "bundle"


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("PREDMESH_STORE", raising=False)
    monkeypatch.setenv("PREDMESH_HOME", str(tmp_path / "home"))
    return tmp_path / "out"


def run(*words: object) -> Result:
    return CliRunner().invoke(app, list(map(str, words)))


def failure(*words: object) -> CliError:
    result = run(*words)
    assert isinstance(result.exception, CliError), result.output
    return result.exception


def test_a_package_is_made_of_a_bundle_whose_model_is_not_there(out: Path, tmp_path: Path) -> None:
    shutil.copytree(BUNDLE, tmp_path / "bundle")
    result = run("--lang", "python", "--from", tmp_path / "bundle", "--out", out, "--name", "air-traffic", "--json")
    said = json.loads(result.stdout)
    assert said["services"] == ["predmesh.models.flight_delay.v1.FlightDelayService"]
    assert (out / "predmesh/clients/air_traffic/flight_delay_v1.py").exists()


def test_an_unknown_language_is_told_with_those_there_are(out: Path) -> None:
    error = failure("--lang", "cobol", "--from", BUNDLE, "--out", out)
    assert (error.code, "python" in error.hint, out.exists()) == (ExitCode.USAGE, True, False)


def test_a_model_that_is_not_live_is_told(out: Path) -> None:
    assert "nothing-like-it" in failure("nothing-like-it", "--lang", "python", "--out", out).message


def test_a_mesh_without_models_gives_no_client(out: Path) -> None:
    assert "none is live" in failure("--lang", "python", "--out", out).message


def test_a_folder_that_holds_other_things_is_refused(out: Path) -> None:
    out.mkdir()
    (out / "theirs.txt").write_text("theirs")
    assert "holds no generated client" in failure("--lang", "python", "--from", BUNDLE, "--out", out).message
