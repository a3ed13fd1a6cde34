"""The command line itself: what it prints, where, and with which exit code."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from predmesh_cli import console
from predmesh_cli.app import COMMANDS
from predmesh_cli.errors import CliError, ExitCode
from predmesh_cli.home import Home
from predmesh_cli.mesh_settings import MeshSettings, settings_text
from predmesh_rpc.addresses import free_ports

PREDMESH = Path(sys.executable).parent / "predmesh"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home whose mesh was up once and is not now."""
    made = Home.at(tmp_path / "home")
    made.make()
    # Another mesh of this machine may well have the default port.
    made.settings_file.write_text(settings_text(MeshSettings(port=free_ports(1)[0], sockets=made.run)))
    return made


def predmesh(home: Home, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PREDMESH_HOME": str(home.root), "COLUMNS": "200"}
    return subprocess.run([PREDMESH, *words], env=environment, input=stdin, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("module", ["asyncio", "feast", "grpc", "jinja2", "onnx", "opentelemetry", "ssl", "xmlrpc"])
def test_a_deploy_begins_without_what_it_may_never_need(module: str) -> None:
    code = f"import sys, predmesh_cli.app, predmesh_cli.commands.bundles; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_help_names_every_command(home: Home) -> None:
    done = predmesh(home, "--help")
    assert done.returncode == 0
    assert all(f" {name} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    from predmesh_cli.app import app
    from typer.testing import CliRunner

    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_an_unknown_command_is_a_usage_error(home: Home) -> None:
    assert predmesh(home, "upp").returncode == ExitCode.USAGE


@pytest.mark.parametrize(
    "words", [["status"], ["predict", "m", "a=1"], ["explain", "m", "a=1"]], ids=lambda words: words[0]
)
def test_without_a_mesh_the_message_says_how_to_start_one(home: Home, words: list[str]) -> None:
    done = predmesh(home, *words)
    assert done.returncode == ExitCode.NOT_RUNNING
    assert "predmesh up" in done.stderr
    assert done.stdout == ""


def test_whoever_else_listens_on_the_port_of_a_mesh_that_is_down_is_not_asked(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings = MeshSettings(port=server.getsockname()[1], sockets=home.run)
        home.settings_file.write_text(settings_text(settings))
        done = predmesh(home, "predict", "m", "a=1")
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert done.returncode == ExitCode.NOT_RUNNING
    assert f"{home.root} is not running" in done.stderr


@pytest.mark.parametrize("words", [["status"], ["logs"]], ids=lambda words: words[0])
def test_a_home_without_a_mesh_is_named(tmp_path: Path, words: list[str]) -> None:
    done = predmesh(Home.at(tmp_path), *words)
    assert done.returncode == ExitCode.NOT_RUNNING
    assert str(tmp_path) in done.stderr


def test_asking_creates_nothing(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "nowhere")
    for words in (["status"], ["down"], ["logs"], ["doctor", "--json"], ["predict", "m", "a=1"]):
        predmesh(home, *words)
    assert not home.root.exists()


def test_logs_begin_with_the_last_lines_of_each(home: Home) -> None:
    home.log("redis").write_text("old\nready [x]\n")
    home.log("triton").write_text("started\n")
    done = predmesh(home, "logs", "-n", "1")
    assert done.stdout.splitlines() == ["redis         | ready [x]", "triton        | started"]
    assert predmesh(home, "logs", "redis").stdout == "old\nready [x]\n"


def test_logs_of_a_service_are_those_of_all_its_workers(home: Home) -> None:
    home.settings_file.write_text(settings_text(MeshSettings(sockets=home.run, processes={"prediction": 2})))
    for number in range(2):
        home.log(f"prediction.{number}").write_text(f"worker {number}\n")
    both = ["prediction.0 | worker 0", "prediction.1 | worker 1"]
    assert predmesh(home, "logs", "prediction").stdout.splitlines() == both
    assert predmesh(home, "logs", "prediction.1").stdout == "worker 1\n"


def test_an_unknown_service_is_answered_with_the_known_ones(home: Home) -> None:
    done = predmesh(home, "logs", "feature")
    assert done.returncode == ExitCode.USAGE
    assert "features" in done.stderr


def test_doctor_says_what_each_missing_thing_costs(home: Home) -> None:
    document = json.loads(predmesh(home, "doctor", "--json").stdout)
    found = {finding["name"]: finding for finding in document["findings"]}
    assert {"Python 3.11", "Envoy", "Redis", "Triton", "GPU", "disk", "memory", "port", "java"} <= set(found)
    assert all(finding["cost"] for finding in found.values() if finding["verdict"] != "here")
    assert document["ok"] == all(finding["verdict"] != "missing, needed" for finding in found.values())


def test_version_names_the_engines(home: Home) -> None:
    assert {"predmesh", "envoy", "redis", "triton"} <= set(json.loads(predmesh(home, "version", "--json").stdout))


def test_rows_come_from_words_or_a_file_but_not_both(home: Home) -> None:
    for words in ([], ["a=1", "--file", "-"]):
        done = predmesh(home, "predict", "m", *words, stdin="[]")
        assert done.returncode == ExitCode.USAGE
        assert "--file" in done.stderr


def test_an_error_shows_its_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_error(CliError("instances[0].origin: [red] is not right", hint="mend it"))
    assert "instances[0].origin: [red] is not right" in capsys.readouterr().err
