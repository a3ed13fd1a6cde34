"""Follows docs/tutorial.md: writes its files, runs its commands, and finds in their output what the page shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from predmesh_testing.running import ROOT, RunningMesh

FENCE = re.compile(r"^```(?P<words>[^\n`]+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_HERE = {"bash"}
"""Blocks that start and end the mesh: the fixture does that."""


@dataclass(frozen=True)
class Block:
    """One fenced block of the page: its words after the fence, and what it holds."""

    kind: str
    words: tuple[str, ...]
    text: str


def blocks(page: str) -> Iterator[Block]:
    for found in FENCE.finditer(page):
        kind, *words = found["words"].split()
        yield Block(kind, tuple(words), found["text"])


@pytest.fixture
def steps() -> list[Block]:
    return list(blocks((ROOT / "docs/tutorial.md").read_text()))


@dataclass(frozen=True)
class Reader:
    """Somebody at a terminal in an empty folder."""

    folder: Path
    mesh: RunningMesh

    def write(self, block: Block) -> None:
        (name,) = (word.removeprefix("file=") for word in block.words)
        (self.folder / name).write_text(block.text)

    def run(self, block: Block) -> str:
        commands = block.text.replace("127.0.0.1:8080", self.mesh.address)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=self.folder,
            env=self.mesh.environment | {"PATH": path, "COLUMNS": "120", "NO_COLOR": "1"},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
            check=False,
        )
        assert (done.returncode != 0) == ("fails" in block.words), f"{block.text}\n{done.stdout}"
        return done.stdout


def test_the_page_tells_the_truth(steps: list[Block], flights_mesh: RunningMesh, tmp_path: Path) -> None:
    reader, said, commands = Reader(tmp_path, flights_mesh), "", 0
    for block in steps:
        if block.kind == "sh":
            said, commands = reader.run(block), commands + 1
        elif block.kind == "text":
            missing = [line for line in block.text.splitlines() if line not in said]
            assert not missing, f"{missing} in:\n{said}"
        elif block.kind not in NOT_HERE:
            reader.write(block)
    assert commands >= 10


def test_every_block_is_run_written_compared_or_for_the_reader(steps: list[Block]) -> None:
    assert {block.kind for block in steps} == {"bash", "sh", "text", "python", "yaml"}
    assert all(
        block.words and block.words[0].startswith("file=") for block in steps if block.kind in ("python", "yaml")
    )
