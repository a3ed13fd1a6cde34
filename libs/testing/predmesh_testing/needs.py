"""Marks a test by the programs it needs: a missing one skips with its name, and fails where CI promises to have it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[3] / ".tools"


def find(program: str) -> str | None:
    """Path of *program*: on PATH, or installed by ``deploy/tools.py``."""
    pinned = sorted(TOOLS.glob(f"{program}-*/**/{program}"))
    return str(pinned[-1]) if pinned else shutil.which(program)


def needs(*programs: str) -> pytest.MarkDecorator:
    """A mark that skips where a program is missing; with ``CI=true`` the test runs, and fails, instead."""
    missing = [program for program in programs if find(program) is None]
    return pytest.mark.skipif(
        bool(missing) and os.environ.get("CI") != "true", reason=f"missing here: {', '.join(missing)}"
    )
