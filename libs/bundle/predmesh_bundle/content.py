"""Which files belong to a bundle, and the hash that names their content."""

import fnmatch
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

IGNORED = ("__pycache__", "*.pyc", ".*")
"""Names that never belong to a bundle."""
IGNORE_FILE = ".predmeshignore"
"""File in a bundle's folder with further patterns, one a line; `#` starts a comment."""


def bundle_files(folder: Path) -> Iterator[Path]:
    """The files of the bundle in *folder*, sorted, without what is ignored or lies in `compiled/`."""
    patterns = (*_patterns(folder), "compiled")
    yield from sorted(_walk(folder, folder, patterns))


def stored_files(folder: Path) -> list[Path]:
    """All files below *folder*, which lies in a compiled bundle, sorted; hidden ones apart."""
    found = _walk(folder, folder, ("__pycache__", ".*"))
    return sorted(found, key=lambda each: each.relative_to(folder).parts)


def content_hash(folder: Path) -> str:
    """SHA-256 over the sorted relative paths and bytes of all files in *folder*, hidden ones apart, as hex digits."""
    return files_hash(folder, stored_files(folder))


def files_hash(folder: Path, paths: Iterable[Path]) -> str:
    """SHA-256 over the bytes of the files *paths* and over their paths below *folder*, as hex digits."""
    digest = hashlib.sha256()
    for path in paths:
        name = path.relative_to(folder).as_posix().encode()
        # Lengths keep a path from running into the bytes beside it.
        digest.update(len(name).to_bytes(8, "little") + name + path.stat().st_size.to_bytes(8, "little"))
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def link_problem(path: Path, folder: Path) -> str | None:
    """Why the file *path* cannot go into the store with the bundle in *folder*; None where it can."""
    if not path.resolve().is_relative_to(folder.resolve()):
        return "this link leads out of the bundle: copy what it points to into the folder"
    if not path.exists():
        return "this link leads nowhere: mend or remove it"
    if not path.is_file():
        return "this is no file: links to folders, sockets and pipes cannot be stored"
    return None


def _walk(folder: Path, root: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    for entry in os.scandir(folder):
        path = Path(entry.path)
        relative = path.relative_to(root).as_posix()
        if any(fnmatch.fnmatch(entry.name, each) or fnmatch.fnmatch(relative, each) for each in patterns):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(path, root, patterns)
        else:
            yield path


def _patterns(folder: Path) -> tuple[str, ...]:
    path = folder / IGNORE_FILE
    if not path.is_file():
        return IGNORED
    lines = (line.strip().rstrip("/") for line in path.read_text().splitlines())
    return (*IGNORED, *(line for line in lines if line and not line.startswith("#")))
