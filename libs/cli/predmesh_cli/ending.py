"""Ends a mesh, whole or half dead, and proves that nothing of it is left."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from predmesh_cli import processes
from predmesh_cli.errors import CliError
from predmesh_cli.home import Home
from predmesh_cli.supervisor_client import Supervisor, SupervisorDown

DRAIN_SECONDS = 45.0
"""Longest wait for the supervisor, which gives each tier its own time."""

TERM_SECONDS = 5.0
KILL_SECONDS = 5.0

OnProgress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Ended:
    """What was ended and removed."""

    processes: int
    files: tuple[Path, ...]


def end(home: Home, sockets: Path, *, on_progress: OnProgress, term_seconds: float = TERM_SECONDS) -> Ended:
    """End every process of the mesh in *home*, then remove its sockets, pid files and shared memory.

    Args:
        home: the mesh's home.
        sockets: folder of its sockets.
        on_progress: is told what is waited for.
        term_seconds: time that programs have whose supervisor is dead, before they are killed.

    Raises:
        CliError: something is left that this user may not end or remove.
    """
    count = len(processes.of_mesh(home))
    if _asked_to_end(sockets):
        _wait_until_gone(home, DRAIN_SECONDS, on_progress)
    for what, seconds in ((signal.SIGTERM, term_seconds), (signal.SIGKILL, KILL_SECONDS)):
        if left := processes.of_mesh(home):
            processes.send(left, what)
            _wait_until_gone(home, seconds, on_progress)
    if left := processes.of_mesh(home):
        raise CliError(f"these processes did not end: {_names(left)}", hint="end them as the user who owns them")
    return Ended(count, tuple(_remove_traces(home, sockets)))


def _asked_to_end(sockets: Path) -> bool:
    try:
        Supervisor(sockets / "supervisor.sock").shut_down()
    except SupervisorDown:
        return False
    return True


def _wait_until_gone(home: Home, seconds: float, on_progress: OnProgress) -> None:
    end_time = time.monotonic() + seconds
    while (left := processes.of_mesh(home)) and time.monotonic() < end_time:
        on_progress(f"waiting for {_names(left)}")
        time.sleep(0.05)


def _names(left: dict[int, str]) -> str:
    return ", ".join(f"{name} ({pid})" for pid, name in sorted(left.items(), key=lambda item: item[1]))


def traces(home: Home, sockets: Path) -> list[Path]:
    """What a running mesh leaves on disk and in memory for others to trip over."""
    found = [path for path in (sockets.iterdir() if sockets.is_dir() else ()) if path.is_socket()]
    pid_files = [home.run / "supervisord.pid", *home.records.glob("*")]
    partial = [*sockets.glob("supervisor.sock.*")]
    return sorted({*found, *partial, *(path for path in pid_files if path.exists()), *processes.shm_regions(home)})


def _remove_traces(home: Home, sockets: Path) -> list[Path]:
    found = traces(home, sockets)
    for path in found:
        path.unlink(missing_ok=True)
    if left := traces(home, sockets):
        raise CliError(f"these could not be removed: {', '.join(map(str, left))}", hint="remove them by hand")
    return found
