"""One command at a time changes a mesh."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from predmesh_cli.errors import CliError

WAIT_SECONDS = 180.0


@contextlib.contextmanager
def locked(path: Path, *, on_wait: Callable[[str], None], wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold the lock file *path*; the kernel lets go of it when the holder ends, however it ends.

    Raises:
        CliError: another command holds it for longer than *wait_seconds*.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("a+") as file:
        _take(file.fileno(), path, on_wait, wait_seconds)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _take(descriptor: int, path: Path, on_wait: Callable[[str], None], wait_seconds: float) -> None:
    end = time.monotonic() + wait_seconds
    while not _taken(descriptor):
        holder = path.read_text().strip() or "unknown"
        on_wait(f"waiting for another predmesh command on this home (pid {holder})")
        if time.monotonic() > end:
            raise CliError(f"another predmesh command works on this home (pid {holder})", hint="wait for it, or end it")
        time.sleep(0.1)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
