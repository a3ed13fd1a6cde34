"""Languages whose clients are made by their own tools: a tool that is not there, or fails, is told."""

from pathlib import Path

import pytest
from google.protobuf.compiler import plugin_pb2
from predmesh_clients.languages import LANGUAGES
from predmesh_clients.package import ClientError, ClientPackage
from predmesh_clients.plugins import generated, run
from predmesh_compiler.contracts import Contract


@pytest.mark.parametrize(("language", "program"), [("typescript", "npm"), ("go", "go")])
def test_a_tool_that_is_not_there_is_named(
    language: str, program: str, flights: Contract, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClientError, match=f"`{program}`, which is not on this machine"):
        LANGUAGES[language](ClientPackage("flights", [flights]))


def test_what_a_tool_says_when_it_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=r"`sh -c .*` failed: no space left"):
        run(["sh", "-c", "echo no space left >&2; exit 3"], tmp_path)


def test_a_plugin_that_refuses_is_told(tmp_path: Path) -> None:
    refusal = plugin_pb2.CodeGeneratorResponse(error="the field is odd").SerializeToString()
    (tmp_path / "said").write_bytes(refusal)
    with pytest.raises(ClientError, match="the field is odd"):
        generated(["cat", "said"], tmp_path, [], [], "")
