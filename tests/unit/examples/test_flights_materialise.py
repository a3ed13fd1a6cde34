import subprocess
import sys
from datetime import UTC, datetime

import pytest
from predmesh_cli.home import Home
from predmesh_testing.running import ROOT

from examples.flights import content, materialise, setup


def test_a_connection_string_of_feast_is_understood() -> None:
    client = materialise.connect("127.0.0.1:7000,username=writer,password=a=b")
    options = client.connection_pool.connection_kwargs
    assert [options[name] for name in ("host", "port", "username", "password")] == ["127.0.0.1", 7000, "writer", "a=b"]
    client.close()


@pytest.mark.parametrize(
    ("environment", "words", "said"),
    [
        ({}, [], "PREDMESH_FEAST_REDIS must name the online store"),
        ({"PREDMESH_FEAST_REDIS": "127.0.0.1:1"}, ["--as-of", "2013-12-30T17:00:00"], "has no zone"),
        ({"PREDMESH_FEAST_REDIS": "127.0.0.1:1"}, ["--as-of", "yesterday"], "invalid"),
    ],
    ids=["no store", "no zone", "no time"],
)
def test_what_cannot_be_meant_is_refused(environment: dict[str, str], words: list[str], said: str) -> None:
    command = [sys.executable, "-m", "examples.flights.materialise", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert said in done.stderr


def test_the_example_s_time_is_noon_in_new_york() -> None:
    assert datetime(2013, 12, 30, 17, tzinfo=UTC) == materialise.DEMO_TIME


def test_without_a_mesh_setup_says_how_to_start_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(setup.NotServed, match="predmesh up"):
        setup.connection(Home.at(tmp_path_factory.mktemp("empty")))


def test_a_digest_changes_with_names_and_content(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("files")
    one, other = folder / "one", folder / "other"
    one.write_text("x")
    other.write_text("x")
    digests = {content.digest([one]), content.digest([other]), content.digest([one], "word"), content.digest([])}
    one.write_text("y")
    assert len(digests | {content.digest([one])}) == 5
