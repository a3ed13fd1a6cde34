"""What Feast made of a repository's definitions, kept: loading Feast takes seconds, and they seldom change."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from predmesh_bundle.content import content_hash
from predmesh_bundle.durable import write_atomically

FOLDER_VARIABLE = "PREDMESH_CACHE"
"""Environment variable that names the cache's folder; empty for none. Default: `predmesh` in the user's cache."""

_MAKERS = ("feast_definitions.py", "feast_process.py", "on_demand_source.py", "read_plan.py")


def kept_path(repo: Path, service: str) -> Path | None:
    """Where the plan of feature service *service* of *repo* is kept; None where nothing is to be kept.

    The name is a hash of all that the plan is made of: the repository's files, the service, Feast, Python and the code
    that reads them.
    """
    folder = _folder()
    try:
        feast = version("feast")
    except PackageNotFoundError:
        return None
    if folder is None or not repo.is_dir():
        return None
    made_of = [content_hash(repo), service, feast, sys.version, _makers()]
    name = hashlib.sha256("\n".join(made_of).encode()).hexdigest()
    return folder / "read-plans" / f"{name}.json"


def kept(path: Path | None) -> str | None:
    """The plan in *path*; None where there is none that can be read."""
    try:
        text = path.read_text(encoding="utf-8") if path is not None else ""
        json.loads(text)
    except (OSError, ValueError):
        return None
    return text


def keep(path: Path | None, answer: dict[str, Any]) -> None:
    """Keep the plan in *answer*, unless its definitions also lie elsewhere, or nothing can be written."""
    if path is None or answer["outside"]:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(path, answer["plan"])
    except OSError:
        return  # Who cannot write waits for Feast each time.


def _folder() -> Path | None:
    named = os.environ.get(FOLDER_VARIABLE)
    if named is not None:
        return Path(named) if named else None
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "predmesh"
    except RuntimeError:
        return None  # A user without a home.


@cache
def _makers() -> str:
    here = Path(__file__).parent
    return hashlib.sha256(b"".join((here / name).read_bytes() for name in _MAKERS)).hexdigest()
