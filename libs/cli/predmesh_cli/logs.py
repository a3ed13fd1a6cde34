"""The programs' log files: their last lines, and what is written to them from now on."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

TAIL_BYTES = 256 * 1024
POLL_SECONDS = 0.2


def tail(path: Path, count: int) -> list[str]:
    """The last *count* lines of *path*; none when there is no such file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    return lines[-count:] if count else []


def last_lines(path: Path, count: int) -> str:
    """The last *count* lines of *path*, indented, to stand below a message."""
    return "\n".join(f"    {line}" for line in tail(path, count)) or "    (its log is empty)"


def follow(paths: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """Lines appended to *paths* from now on, as (name, line), for ever; survives rotation."""
    tails = {name: _Tail(path) for name, path in paths.items()}
    while True:
        quiet = True
        for name, each in tails.items():
            for line in each.new_lines():
                quiet = False
                yield name, line
        if quiet:
            time.sleep(POLL_SECONDS)


class _Tail:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode, self._offset = self._where()
        self._partial = b""

    def _where(self) -> tuple[int, int]:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return 0, 0
        return stat.st_ino, stat.st_size

    def new_lines(self) -> list[str]:
        inode, size = self._where()
        if inode != self._inode or size < self._offset:
            self._inode, self._offset = inode, 0
        if size == self._offset:
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = self._partial + file.read()
            self._offset = file.tell()
        *lines, self._partial = data.split(b"\n")
        return [line.decode(errors="replace") for line in lines]
