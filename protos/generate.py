"""Generates the stubs of protos/ into libs/contracts, with protoc out of grpcio-tools; needs no network and no Node."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc  # type: ignore[import-untyped]

PROTOS = Path(__file__).parent
OUT = PROTOS.parent / "libs" / "contracts"
ERROR_DETAILS = ("google/rpc/status.proto", "google/rpc/error_details.proto")
RULES = "buf/validate/validate.proto"


def arguments(into: Path) -> list[str]:
    """The command line of protoc that writes stubs, their types and one descriptor set below *into*."""
    plugins = Path(sys.executable).parent
    ours = sorted(str(path.relative_to(PROTOS)) for path in (PROTOS / "predmesh").rglob("*.proto"))
    return [
        "protoc",
        f"-I{PROTOS}",
        f"-I{PROTOS / 'vendor'}",
        f"--plugin=protoc-gen-mypy={plugins / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={plugins / 'protoc-gen-mypy_grpc'}",
        f"--python_out={into}",
        f"--grpc_python_out={into}",
        f"--mypy_out=quiet:{into}",
        f"--mypy_grpc_out=quiet:{into}",
        "--include_imports",
        "--include_source_info",
        f"--descriptor_set_out={into / 'descriptors.binpb'}",
        *ours,
        # Envoy answers an error that has details with an empty body unless its descriptors hold these.
        *ERROR_DETAILS,
        # The contracts that are compiled from bundles import it; ours do not.
        RULES,
    ]


def fingerprint() -> str:
    """A hash of everything the stubs are made from, this file included."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted(PROTOS.rglob("*.proto")):
        digest.update(str(path.relative_to(PROTOS)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def main(words: list[str]) -> None:
    """Replaces the generated package by a fresh one; with ``--if-changed`` only when protos/ has changed since."""
    stamp, now = OUT / "predmesh" / "GENERATED_FROM", fingerprint()
    if "--if-changed" in words and stamp.exists() and stamp.read_text() == now:
        return
    with tempfile.TemporaryDirectory(dir=OUT) as scratch:
        if protoc.main(arguments(Path(scratch))) != 0:
            raise SystemExit("protoc failed; its message stands above")
        shutil.rmtree(OUT / "predmesh", ignore_errors=True)
        for made in ("predmesh", "descriptors.binpb"):
            (Path(scratch) / made).rename(OUT / made)
        stamp.write_text(now)


if __name__ == "__main__":
    main(sys.argv[1:])
