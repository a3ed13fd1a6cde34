"""Becomes one program of the mesh: ties it to the supervisor's life, records its start, execs it.

Run by path under ``python -I -S`` with the standard library alone, because it stands before every program of the mesh.
It writes down who it became, so that restarts can be counted and the process found when the supervisor is gone.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
MARK = "PREDMESH_MARK"
"""Environment variable that marks the processes of a mesh, as ``<home>:<program>``; nothing else sets it."""


def start_ticks(pid: int) -> int:
    """When *pid* started, in clock ticks since boot: with the pid it names one process for good."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def die_with_parent(death_signal: int) -> None:
    """Ask the kernel for *death_signal* when the parent ends; end now if it already has."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if b"supervisord" not in Path(f"/proc/{os.getppid()}/cmdline").read_bytes():
        raise SystemExit("the supervisor ended before its program could start")


def marked_group(group: int, mark: str) -> list[int]:
    """Pids of the processes of *group* that carry *mark*."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _is(entry, group, mark)]


def _is(entry: Path, group: int, mark: str) -> bool:
    try:
        if int((entry / "stat").read_text().rpartition(")")[2].split()[2]) != group:
            return False
        return f"{MARK}={mark}".encode() in (entry / "environ").read_bytes().split(b"\0")
    except (OSError, ValueError, IndexError):  # it ended meanwhile, or is not ours to look into
        return False


def end_leftovers(record: dict[str, Any], mark: str) -> None:
    """Kill what the previous run of this program left in its process group, e.g. model processes of a killed server."""
    group = int(record.get("pid", 0))
    if group > 1 and group != os.getpid():
        for pid in marked_group(group, mark):
            os.kill(pid, signal.SIGKILL)


def recorded(path: Path) -> dict[str, Any]:
    """What the previous start wrote down; empty at the first one."""
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def write_record(path: Path, previous: dict[str, Any]) -> None:
    """Write this start down in one step, so that no reader sees half of it."""
    pid = os.getpid()
    record = {
        "pid": pid,
        "start_ticks": start_ticks(pid),
        "starts": int(previous.get("starts", 0)) + 1,
        "time": time.time(),
    }
    partial = path.with_suffix(f".{pid}")
    partial.write_text(json.dumps(record))
    partial.replace(path)


def main(spec_path: str) -> None:
    """Become the program that the file *spec_path* describes."""
    spec = json.loads(Path(spec_path).read_text())
    die_with_parent(int(spec["death_signal"]))
    record_path = Path(spec["record"])
    previous = recorded(record_path)
    end_leftovers(previous, spec["environment"][MARK])
    write_record(record_path, previous)
    os.chdir(spec["directory"])
    os.execve(spec["argv"][0], spec["argv"], spec["environment"])  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    main(sys.argv[1])
