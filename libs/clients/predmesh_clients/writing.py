"""Puts a client package into a folder; what an earlier one left there goes, what others put there stays."""

from __future__ import annotations

import json
from pathlib import Path

from predmesh_bundle.durable import write_atomically

from predmesh_clients.package import ClientError, Files

STAMP = "predmesh-client.json"
"""File that lists what was generated."""


def write_package(folder: Path, made: Files) -> None:
    """Write *made* into *folder*, in place of the package that was generated there before.

    Raises:
        ClientError: the folder holds things of others.
    """
    earlier = _earlier(folder)
    for path in sorted(earlier - made.keys()):
        (folder / path).unlink(missing_ok=True)
    for path, content in made.items():
        write_atomically(folder / path, content, durable=False)
    write_atomically(folder / STAMP, json.dumps({"files": sorted(made)}, indent=1) + "\n", durable=False)


def _earlier(folder: Path) -> set[str]:
    try:
        listed = json.loads((folder / STAMP).read_bytes())["files"]
    except FileNotFoundError:
        if folder.exists() and any(folder.iterdir()):
            raise ClientError(f"{folder} holds no generated client: name a folder that is empty or new") from None
        return set()
    inside = folder.resolve()
    return {path for path in listed if (folder / path).resolve().is_relative_to(inside)}
