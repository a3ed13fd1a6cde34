"""`make protos` fails for what breaks the contracts of the last release, and for nothing else."""

import shutil
from pathlib import Path

import pytest
from predmesh_testing.needs import needs

from protos.baseline import ROOT, compare

pytestmark = needs("buf")
SERVICE = "predmesh/prediction/v1/prediction_service.proto"
HTTP = "predmesh/prediction/v1/prediction_http_service.proto"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    return tmp_path


def rewrite(folder: Path, file: str, old: str, new: str) -> None:
    path = folder / "protos" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_contracts_of_this_checkout_keep_what_the_last_release_promised(copy: Path) -> None:
    assert compare(copy)


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        pytest.param(SERVICE, "  string version = 2;", "  reserved 2;", '"2" with name "version"', id="field"),
        pytest.param(SERVICE, "string version = 2;", "int32 version = 2;", "changed type", id="type"),
        pytest.param(SERVICE, "string version = 2;", "string version = 92;", '"2" with name "version"', id="number"),
        pytest.param(
            SERVICE,
            "  rpc Explain(ExplainRequest) returns (ExplainResponse);",
            "",
            'RPC "Explain" on service "PredictionService" was deleted',
            id="method",
        ),
        pytest.param(
            HTTP,
            '"/v1/models/{model}:predict"',
            '"/v1/models/{model}:forecast"',
            "POST /v1/models/{model}:predict: is no path of REST any more",
            id="path",
        ),
    ],
)
def test_a_break_fails(copy: Path, file: str, old: str, new: str, said: str, capfd: pytest.CaptureFixture[str]) -> None:
    rewrite(copy, file, old, new)
    assert not compare(copy)
    assert said in capfd.readouterr().out


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        pytest.param(SERVICE, "  string version = 2;", "  string version = 2;\n  string more = 99;", id="field"),
        pytest.param(
            SERVICE,
            "  rpc Explain(",
            "  rpc More(ExplainRequest) returns (ExplainResponse);\n  rpc Explain(",
            id="method",
        ),
        pytest.param(
            SERVICE, '{get: "/v1/models"}', '{get: "/v1/models" additional_bindings {get: "/v1/all"}}', id="path"
        ),
    ],
)
def test_what_only_adds_passes(copy: Path, file: str, old: str, new: str) -> None:
    rewrite(copy, file, old, new)
    assert compare(copy)
