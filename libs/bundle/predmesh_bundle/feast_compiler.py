"""Compiles a feature service into a read plan, at deploy; the store is never contacted.

Feast runs in a process of its own: its import takes seconds and much memory, and definitions are user code that
changes ``sys.path`` and the working directory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from predmesh_bundle.plan_cache import keep, kept, kept_path
from predmesh_bundle.read_plan import ReadPlan, ReadPlanError


def compile_read_plan(
    repo: Path, service: str, defaults: Mapping[str, Any] | None = None, *, timeout_seconds: float = 120
) -> ReadPlan:
    """The read plan of feature service *service* as defined in the Feast repository *repo*.

    What Feast made of the same files before is used again, so that definitions must not depend on anything else.

    Args:
        repo: folder with ``feature_store.yaml`` and the definitions.
        service: name of the feature service.
        defaults: what stands where the store has no value, by feature name.
        timeout_seconds: how long the definitions may take to load.

    Raises:
        ReadPlanError: the definitions do not load, or hold something that cannot be served; names feature and view.
    """
    path = kept_path(repo, service)
    text = kept(path)
    if text is None:
        answer = _read(repo, service, timeout_seconds)
        keep(path, answer)
        text = answer["plan"]
    return ReadPlan.from_json(text).with_defaults(defaults or {})


def _read(repo: Path, service: str, timeout_seconds: float) -> dict[str, Any]:
    """What `predmesh_bundle.feast_process` answers."""
    with tempfile.TemporaryDirectory(prefix="predmesh-feast-") as scratch:
        answer = Path(scratch) / "answer.json"
        command = [sys.executable, "-m", "predmesh_bundle.feast_process", str(repo.resolve()), service, str(answer)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=timeout_seconds, env=_environment(), check=False
            )
        except subprocess.TimeoutExpired:
            raise ReadPlanError([f"the definitions in {repo} took longer than {timeout_seconds:g} s to load"]) from None
        if not answer.exists():
            raise ReadPlanError([f"Feast could not load {repo}: {_last_line(done.stderr)}"])
        document: dict[str, Any] = json.loads(answer.read_text())
    if "problems" in document:
        raise ReadPlanError(document["problems"])
    return document


def _environment() -> dict[str, str]:
    return {**os.environ, "FEAST_USAGE": "False", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "ignore"}


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing; run `feast apply` in that folder"
