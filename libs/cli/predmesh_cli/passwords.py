"""Passwords of a mesh: made once, kept in files that the owner alone can read."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field, fields
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Passwords:
    """What the users of the online store authenticate with; never shown, never logged."""

    features: str = field(repr=False)
    writer: str = field(repr=False)
    watcher: str = field(repr=False)


def passwords(folder: Path) -> Passwords:
    """The passwords in *folder*; those that are missing are made."""
    return Passwords(**{item.name: _password(folder / f"redis-{item.name}") for item in fields(Passwords)})


def _password(path: Path) -> str:
    try:
        kept = path.read_text().strip()
    except FileNotFoundError:
        kept = ""
    if kept:
        path.chmod(0o600)
        return kept
    made = secrets.token_hex(24)
    write_private(path, made + "\n")
    return made


def write_private(path: Path, text: str) -> None:
    """Write *text* to *path* in one step; the file is never readable to others, not even for a moment."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    partial.replace(path)
