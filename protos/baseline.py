"""Compares the contracts with those of the last release, baseline.binpb; ``--write`` puts today's in their place."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from google.api import annotations_pb2
from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor_pb2 import FileDescriptorSet

ROOT = Path(__file__).resolve().parents[1]
BASELINE = ROOT / "protos" / "baseline.binpb"


def buf(*words: str, folder: Path) -> int:
    """The exit status of buf, which is installed where it is missing."""
    command = [sys.executable, str(ROOT / "deploy" / "tools.py"), "--run", "buf", *words]
    return subprocess.run(command, cwd=folder, check=False).returncode


def paths(image: Path) -> set[str]:
    """What REST serves by the contracts in *image*: ``package.Service.Method: VERB path``."""
    files = FileDescriptorSet.FromString(image.read_bytes())
    return {
        f"{file.package}.{service.name}.{method.name}: {way}"
        for file in files.file
        for service in file.service
        for method in service.method
        for way in _ways(method.options.Extensions[annotations_pb2.http])
    }


def _ways(rule: HttpRule) -> Iterator[str]:
    verb = rule.WhichOneof("pattern")
    if verb == "custom":
        yield f"{rule.custom.kind} {rule.custom.path}"
    elif verb:
        yield f"{verb.upper()} {getattr(rule, verb)}"
    for more in rule.additional_bindings:
        yield from _ways(more)


def compare(folder: Path) -> bool:
    """Whether the contracts in *folder*, a checkout, keep what the last release promised; prints what they break."""
    with tempfile.TemporaryDirectory() as scratch:
        now = Path(scratch) / "now.binpb"
        if buf("build", "protos", "-o", str(now), folder=folder) != 0:
            return False
        if not now.exists():  # buf cannot be had here, which is an error in CI alone
            return True
        same = ("--config", "buf.yaml", "--exclude-imports", "--against", str(BASELINE))
        kept = buf("breaking", str(now), *same, folder=folder) == 0
        gone = sorted(paths(BASELINE) - paths(now))
    for way in gone:
        print(f"{way}: is no path of REST any more")
    return kept and not gone


def main(words: list[str]) -> int:
    """Compares; with ``--write`` takes what has passed as the new baseline."""
    if not compare(ROOT):
        return 1
    return (
        buf("build", "protos", "-o", str(BASELINE), "--exclude-source-info", folder=ROOT) if "--write" in words else 0
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
