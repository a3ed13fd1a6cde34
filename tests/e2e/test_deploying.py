"""Deployments of a running mesh: nothing fails while they happen, and a bad one changes nothing."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from predmesh_testing.running import FLIGHT, ROOT, RunningMesh
from predmesh_testing.traffic import Traffic

PREDICT = "/v1/models/flight-delay:predict"


@pytest.fixture(scope="session")
def wine(flights_mesh: RunningMesh) -> Path:
    """The trained wine bundle."""
    flights_mesh.python("examples/wine/train.py")
    return ROOT / "examples/wine/build/bundle"


@pytest.fixture
def undeployed_after(flights_mesh: RunningMesh) -> Iterator[None]:
    yield
    flights_mesh.predmesh("undeploy", "wine", check=False)


@pytest.mark.usefixtures("undeployed_after")
def test_a_second_model_comes_and_goes_under_load_without_a_failure(flights_mesh: RunningMesh, wine: Path) -> None:
    with Traffic(flights_mesh) as traffic:
        flights_mesh.predmesh("deploy", str(wine))
        listed = {model["name"] for model in httpx.get(f"http://{flights_mesh.address}/v1/models").json()["models"]}
        flights_mesh.predmesh("undeploy", "wine")
    assert listed == {"flight-delay", "wine"}
    assert traffic.answers > 20
    assert traffic.failures == []


@pytest.mark.usefixtures("undeployed_after")
def test_a_deployed_model_answers_its_example(flights_mesh: RunningMesh, wine: Path) -> None:
    flights_mesh.predmesh("deploy", str(wine))
    model = httpx.get(f"http://{flights_mesh.address}/v1/models/wine").json()["model"]
    row = {item["name"]: item["example"] for item in model["inputs"]}
    answer = flights_mesh.post("/v1/models/wine:predict", {"instances": [row]})
    assert answer.status_code == 200, answer.text
    assert set(answer.json()["predictions"][0]) == {item["name"] for item in model["outputs"]}


def test_a_model_that_cannot_load_leaves_the_old_generation_serving(
    flights_mesh: RunningMesh, wine: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(wine, tmp_path / "broken")
    model = next(path for path in broken.iterdir() if path.suffix == ".skops")
    model.write_bytes(b"not a model")
    before = httpx.get(f"http://{flights_mesh.address}/v1/models").json()
    refused = flights_mesh.predmesh("deploy", str(broken), check=False)
    assert refused.returncode != 0
    assert "inference" in refused.stderr + refused.stdout
    assert httpx.get(f"http://{flights_mesh.address}/v1/models").json() == before
    assert flights_mesh.post(PREDICT, {"instances": [FLIGHT]}).status_code == 200


def test_a_bundle_with_mistakes_is_refused_with_file_and_line(
    flights_mesh: RunningMesh, wine: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(wine, tmp_path / "mistaken")
    (broken / "predmesh.yaml").write_text((broken / "predmesh.yaml").read_text().replace("owner:", "ownr:"))
    refused = flights_mesh.predmesh("deploy", str(broken), check=False)
    assert refused.returncode != 0
    assert "predmesh.yaml:" in refused.stderr + refused.stdout and "owner" in refused.stderr + refused.stdout


def test_undeploying_an_unknown_model_offers_the_nearest(flights_mesh: RunningMesh) -> None:
    refused = flights_mesh.predmesh("undeploy", "flight-dela", check=False)
    assert refused.returncode != 0
    assert "flight-delay" in refused.stderr + refused.stdout


def test_models_are_listed_for_scripts(flights_mesh: RunningMesh) -> None:
    listed = json.loads(flights_mesh.predmesh("models", "--json").stdout)
    assert "flight-delay" in json.dumps(listed)
