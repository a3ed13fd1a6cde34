"""Files that are there whole or not at all, also after a power cut."""

import os
import shutil
import stat
import uuid
from pathlib import Path


def write_atomically(path: Path, content: str | bytes, *, durable: bool = True) -> None:
    """Put *content* at *path* in one step: a reader sees the old file or the new one.

    Args:
        path: where; its folder is made where it is missing.
        content: what; text is written as UTF-8.
        durable: whether to wait for the disk, so that a power cut cannot undo it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    try:
        with draft.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the disk holds the names in *folder*."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Wait until the disk holds the bytes of *path*."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def seal(folder: Path) -> None:
    """Make every file read-only and wait until the disk holds it all."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            sync_folder(path)
        else:
            path.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
            sync_file(path)
    sync_folder(folder)


def discard(folder: Path) -> None:
    """Remove *folder* and all that is in it, where it is there."""
    if folder.exists():
        shutil.rmtree(folder)
