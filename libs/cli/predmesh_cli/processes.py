"""The processes of one mesh, found without its supervisor: by the mark in their environment and by their records."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from predmesh_cli.home import Home
from predmesh_cli.launch import MARK, start_ticks


@dataclass(frozen=True, slots=True)
class Record:
    """What a program's launcher wrote down when it last started."""

    pid: int
    start_ticks: int
    starts: int
    """How often it was started since `up`; one less than its restarts."""
    time: float
    """When, in seconds since the epoch."""

    def alive(self) -> bool:
        """Whether that very process still runs; a reused pid does not count."""
        return runs(self.pid, self.start_ticks)


def runs(pid: int, ticks: int) -> bool:
    """Whether the process *pid* that started at *ticks* runs and is no zombie."""
    with contextlib.suppress(OSError, IndexError, ValueError, psutil.Error):
        return start_ticks(pid) == ticks and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def read_record(path: Path) -> Record | None:
    """The record in *path*; None when the program never started."""
    try:
        document = json.loads(path.read_text())
        return Record(document["pid"], document["start_ticks"], document["starts"], document["time"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def of_mesh(home: Home) -> dict[int, str]:
    """Every process of the mesh in *home*, as pid to program; children carry their program's mark."""
    found = {pid: mark for pid in psutil.pids() if (mark := marked(pid, home)) is not None}
    for path in home.records.glob("*.json"):
        record = read_record(path)
        if record and record.pid not in found and record.alive():
            found[record.pid] = path.stem
    found.pop(os.getpid(), None)
    return found


def marked(pid: int, home: Home) -> str | None:
    """The program that *pid* belongs to in the mesh of *home*; None when it does not, or has ended."""
    prefix = f"{MARK}={home.root}:".encode()
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    return next((value[len(prefix) :].decode() for value in variables if value.startswith(prefix)), None)


def send(pids: Iterable[int], what: signal.Signals) -> None:
    """Send *what* to each of *pids* that is still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, what)


def pss_bytes(pid: int) -> int:
    """Memory of *pid*, shared pages divided among their users; 0 when it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def shm_regions(home: Home) -> list[Path]:
    """Shared-memory regions that the mesh in *home* made."""
    return sorted(Path("/dev/shm").glob(f"{home.shm_prefix}*"))  # noqa: S108 - that is where the kernel keeps them
