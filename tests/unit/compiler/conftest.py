"""Contracts as text, through protoc and buf, for the tests of predmesh_compiler."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from grpc_tools import protoc  # type: ignore[import-untyped]
from predmesh_compiler import Contract
from predmesh_compiler.proto_text import proto_text
from predmesh_testing.needs import find

ROOT = Path(__file__).parents[3]

Protoc = Callable[[Contract], descriptor_pb2.FileDescriptorProto]
Lint = Callable[[Sequence[Contract]], str]

BUF_YAML = """\
version: v2
modules:
  - path: contracts
    lint: {use: [STANDARD, COMMENTS], disallow_comment_ignores: true}
  - path: protos
    excludes: [protos/vendor]
    lint: {ignore: [protos]}
  - path: protos/vendor
    lint: {ignore: [protos/vendor]}
"""


@pytest.fixture(scope="session")
def by_protoc(tmp_path_factory: pytest.TempPathFactory) -> Protoc:
    """What protoc makes of a contract's text, without places in the text."""
    root = tmp_path_factory.mktemp("protoc")

    def compiled(contract: Contract) -> descriptor_pb2.FileDescriptorProto:
        write(contract, root)
        out = root / "out.binpb"
        protos = ROOT / "protos"
        words = ["protoc", f"-I{root}", f"-I{protos}", f"-I{protos / 'vendor'}", f"--descriptor_set_out={out}"]
        assert protoc.main([*words, contract.file.name]) == 0, proto_text(contract.file)
        return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file[0]

    return compiled


@pytest.fixture(scope="session")
def lint(tmp_path_factory: pytest.TempPathFactory) -> Lint:
    """What buf has to say about contracts, under the rules of our own protos."""
    buf = find("buf")
    assert buf, "buf is missing; deploy/tools.py installs it where Node is"

    def linted(contracts: Sequence[Contract]) -> str:
        root = tmp_path_factory.mktemp("buf")
        (root / "buf.yaml").write_text(BUF_YAML)
        shutil.copytree(ROOT / "protos", root / "protos")
        for each in contracts:
            write(each, root / "contracts")
        done = subprocess.run([buf, "lint"], cwd=root, capture_output=True, text=True)
        return done.stdout + done.stderr

    return linted


def write(contract: Contract, root: Path) -> None:
    path = root / contract.file.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(proto_text(contract.file), encoding="utf-8")
