"""Generates the stubs of protos/ into libs/contracts, with protoc out of grpcio-tools; needs no network and no Node."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from grpc_tools import protoc  # type: ignore[import-untyped]

PROTOS = Path(__file__).parent
OUT = PROTOS.parent / "libs" / "contracts"
ERROR_DETAILS = ("google/rpc/status.proto", "google/rpc/error_details.proto")


def arguments(into: Path) -> list[str]:
    """The command line of protoc that writes stubs, their types and one descriptor set below *into*."""
    ours = sorted(str(path.relative_to(PROTOS)) for path in (PROTOS / "predmesh").rglob("*.proto"))
    return [
        "protoc",
        f"-I{PROTOS}",
        f"-I{PROTOS / 'vendor'}",
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
    ]


def main() -> None:
    """Replaces the generated package by a fresh one."""
    with tempfile.TemporaryDirectory(dir=OUT) as scratch:
        if protoc.main(arguments(Path(scratch))) != 0:
            raise SystemExit("protoc failed; its message stands above")
        shutil.rmtree(OUT / "predmesh", ignore_errors=True)
        for made in ("predmesh", "descriptors.binpb"):
            (Path(scratch) / made).rename(OUT / made)


if __name__ == "__main__":
    main()
