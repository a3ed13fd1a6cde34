"""`predmesh check`, `new`, `deploy`, `undeploy`, `models` and `clock`, as a script and as a person use them."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from predmesh_bundle.skeleton import Template, write_skeleton
from predmesh_bundle.store import Store
from predmesh_cli.commands.bundles import app
from predmesh_cli.errors import CliError, ExitCode
from typer.testing import CliRunner, Result

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in an empty folder, with a home of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PREDMESH_STORE", raising=False)
    monkeypatch.setenv("PREDMESH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *words: CliRunner().invoke(app, words)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle that checks; its model is none, but nobody looks into it here."""
    folder = write_skeleton("my-model", Template.ONNX, tmp_path)
    (folder / "model.onnx").write_bytes(b"weights")
    return folder


def failure(result: Result) -> CliError:
    assert isinstance(result.exception, CliError), result.output
    return result.exception


def answer(result: Result) -> dict[str, Any]:
    assert result.exception is None, result.exception
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_a_right_bundle_checks(run: Run, bundle: Path) -> None:
    result = run("check", "my-model")
    assert result.exit_code == 0
    assert "my-model is a bundle: my-model, version 1" in result.stdout


def test_a_broken_bundle_is_told_with_file_and_line(run: Run, bundle: Path) -> None:
    (bundle / "predmesh.yaml").write_text((bundle / "predmesh.yaml").read_text().replace("owner:", "ownr:"))
    error = failure(run("check", "my-model"))
    assert error.code == ExitCode.FAILED
    assert "my-model has 2 problems" in error.message
    assert "my-model/predmesh.yaml:4: `ownr` is no key here; did you mean 'owner'?" in error.message
    assert "predmesh check my-model" in error.hint


def test_a_script_reads_the_problems(run: Run, bundle: Path) -> None:
    (bundle / "model.onnx").unlink()
    result = run("check", "my-model", "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert (document["ok"], document["problems"][0]["file"]) == (False, "predmesh.yaml")
    assert isinstance(document["problems"][0]["line"], int)


def test_a_script_reads_that_there_are_none(run: Run, bundle: Path) -> None:
    document = answer(run("check", "my-model", "--json"))
    assert document == {"ok": True, "name": "my-model", "version": "1", "problems": []}


@pytest.mark.parametrize("template", [each.value for each in Template])
def test_new_makes_a_bundle(run: Run, template: str, tmp_path: Path) -> None:
    result = run("new", "churn", "--template", template)
    assert result.exit_code == 0
    assert "predmesh deploy churn" in result.stdout
    assert (tmp_path / "churn" / "predmesh.yaml").exists()


def test_new_refuses_a_bad_name_and_an_unknown_template(run: Run) -> None:
    assert failure(run("new", "Churn")).code == ExitCode.USAGE
    assert run("new", "churn", "--template", "jax").exit_code == ExitCode.USAGE


def test_a_bundle_goes_live_is_listed_and_goes(run: Run, bundle: Path, tmp_path: Path) -> None:
    deployed = run("deploy", "my-model")
    assert "my-model version 1 is live as my-model-1-" in deployed.stdout
    assert "`predmesh up` starts one" in deployed.stdout
    assert "my-model" in run("models").stdout
    assert "no longer live" in run("undeploy", "my-model").stdout
    assert "No model is live" in run("models").stdout
    assert Store(tmp_path / "home" / "store").current().number == 2


def test_scripts_read_what_is_live(run: Run, bundle: Path) -> None:
    live = answer(run("deploy", "my-model", "--json"))
    generation = live.pop("generation")
    stages = dict.fromkeys(("features", "preprocessing", "inference", "explanation"), "local")
    assert answer(run("models", "--json")) == {"generation": generation, "models": [live | {"stages": stages}]}
    assert answer(run("undeploy", "my-model", "--json")) == {"generation": 2, "models": []}


def test_a_second_version_says_where_the_traffic_goes(run: Run, bundle: Path) -> None:
    run("deploy", "my-model")
    (bundle / "predmesh.yaml").write_text(
        (bundle / "predmesh.yaml").read_text().replace('version: "1"', 'version: "2"')
    )
    assert "go to version 1" in run("deploy", "my-model", "--no-default").stdout
    assert "go to version 2" in run("undeploy", "my-model", "--version", "1").stdout


def test_other_content_needs_replace(run: Run, bundle: Path) -> None:
    run("deploy", "my-model")
    (bundle / "model.onnx").write_bytes(b"other")
    assert "--replace" in failure(run("deploy", "my-model")).message
    assert run("deploy", "my-model", "--replace").exit_code == 0


def test_a_broken_bundle_is_not_deployed(run: Run, bundle: Path) -> None:
    (bundle / "model.onnx").unlink()
    assert "my-model has a problem" in failure(run("deploy", "my-model")).message


def test_undeploy_of_the_unknown_names_the_nearest(run: Run, bundle: Path) -> None:
    run("deploy", "my-model")
    assert "did you mean 'my-model'?" in failure(run("undeploy", "mymodel")).message


@pytest.mark.parametrize("setting", ["2013-12-31T23:59:00Z", "system", "+3600s", "-60s", "-0.5s"])
def test_the_clock_is_set_and_shown(run: Run, setting: str) -> None:
    assert run("clock", setting).exit_code == 0
    assert answer(run("clock", "--json"))["setting"] == setting


def test_a_clock_that_is_none_is_refused(run: Run) -> None:
    error = failure(run("clock", "noon"))
    assert (error.code, "write `system`" in error.message) == (ExitCode.USAGE, True)


def test_the_store_may_be_named(run: Run, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREDMESH_STORE", str(tmp_path / "elsewhere"))
    run("deploy", "my-model")
    assert Store(tmp_path / "elsewhere").current().number == 1


def test_a_store_that_cannot_be_used_is_told(run: Run, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    error = failure(run("deploy", "my-model"))
    assert "the store cannot be used" in error.message
    assert error.hint


def test_compile_writes_the_contract_and_the_lock(run: Run, bundle: Path) -> None:
    document = answer(run("compile", "my-model", "--json"))
    assert document["service"] == "predmesh.models.my_model.v1.MyModelService"
    assert document["lock_changed"]
    assert all(Path(each).is_file() for each in document["files"])
    assert (bundle / "predmesh.lock.yaml").is_file()


def test_compile_writes_where_it_is_told(run: Run, bundle: Path, tmp_path: Path) -> None:
    assert run("compile", "my-model", "--out", "contracts").exit_code == 0
    assert (tmp_path / "contracts" / "predmesh" / "models" / "my_model" / "v1" / "my_model_service.proto").is_file()


def test_locked_refuses_a_lock_that_would_change(run: Run, bundle: Path) -> None:
    error = failure(run("compile", "my-model", "--locked"))
    assert "commit the file" in error.hint
    assert not (bundle / "predmesh.lock.yaml").exists()


def test_locked_takes_a_lock_that_is_whole(run: Run, bundle: Path) -> None:
    assert run("compile", "my-model").exit_code == 0
    assert run("compile", "my-model", "--locked").exit_code == 0


def test_a_broken_lock_is_told_with_file_and_line(run: Run, bundle: Path) -> None:
    (bundle / "predmesh.lock.yaml").write_text("inputs:\n  used: {x: 0}\n")
    assert "my-model/predmesh.lock.yaml:2: 0 is no number" in failure(run("check", "my-model")).message


def narrow(folder: Path) -> None:
    file = folder / "predmesh.yaml"
    file.write_text(file.read_text().replace("minimum: 0, maximum: 30, example: 5.1", "minimum: 5, example: 5.1"))


BREAK = "inputs.sepal_length: the minimum was 0.0 and is 5.0"


def test_a_break_against_a_folder_fails(run: Run, bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "before")
    (tmp_path / "before" / "model.onnx").unlink()
    assert run("check", "my-model", "--against", "before").exit_code == 0
    narrow(bundle)
    error = failure(run("check", "my-model", "--against", "before"))
    assert (error.code, BREAK in error.message) == (ExitCode.FAILED, True)
    assert "raise `version`" in error.hint


def test_a_script_reads_the_breaks(run: Run, bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "before")
    narrow(bundle)
    result = run("check", "my-model", "--against", "before", "--json")
    assert result.exit_code == ExitCode.FAILED
    assert json.loads(result.stdout)["breaks"] == [dict(zip(("field", "reason"), BREAK.split(": ", 1), strict=True))]


def test_a_break_against_git_fails(run: Run, bundle: Path) -> None:
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.com", "-C", str(bundle)]
    for words in (["init", "-q"], ["add", "predmesh.yaml"], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    narrow(bundle)
    assert BREAK in failure(run("check", "my-model", "--against", "git:HEAD")).message


def test_a_break_against_what_is_live_fails(run: Run, bundle: Path) -> None:
    assert run("deploy", "my-model").exit_code == 0
    assert run("check", "my-model", "--against", "live").exit_code == 0
    narrow(bundle)
    assert BREAK in failure(run("check", "my-model", "--against", "live")).message
    assert BREAK in failure(run("deploy", "my-model", "--replace")).message


def test_a_new_version_breaks_nobody(run: Run, bundle: Path) -> None:
    assert run("deploy", "my-model").exit_code == 0
    narrow(bundle)
    file = bundle / "predmesh.yaml"
    file.write_text(file.read_text().replace('version: "1"', 'version: "2"'))
    assert "Nothing can break" in run("check", "my-model", "--against", "live").stdout


@pytest.mark.parametrize("against", ["nowhere", "git:HEAD"])
def test_what_is_not_there_is_nothing_to_compare_with(run: Run, bundle: Path, against: str) -> None:
    error = failure(run("check", "my-model", "--against", against))
    assert (error.code, f"{against} is nothing to compare with" in error.message) == (ExitCode.USAGE, True)


def test_another_model_is_nothing_to_compare_with(run: Run, bundle: Path, tmp_path: Path) -> None:
    write_skeleton("other", Template.ONNX, tmp_path)
    assert "other is the model other, not my-model" in failure(run("check", "my-model", "--against", "other")).message
