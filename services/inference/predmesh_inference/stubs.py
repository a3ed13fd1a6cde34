"""The processes in which Triton runs Python, one a model instance: found in /proc, and killed where they hang."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

PROGRAM = "triton_python_backend_stub"
PROC = Path("/proc")


@dataclass(frozen=True)
class Stub:
    """One stub process."""

    pid: int
    model: Path
    """Folder of its model in the repository."""
    region: str
    """Name of its shared-memory region, which begins with its Triton's prefix."""

    def kill(self) -> None:
        """End it at once; one that has ended already is no error."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def find_stubs() -> list[Stub]:
    """Every stub of this machine that this user can see, dead ones (zombies) left out."""
    candidates = (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())
    return [stub for pid in candidates if (stub := read_stub(pid, _command_line(pid))) is not None]


def stubs_of(model: Path) -> list[Stub]:
    """The stubs of the model whose folder in the repository is *model*."""
    return [stub for stub in find_stubs() if stub.model == model]


def read_stub(pid: int, words: list[str]) -> Stub | None:
    """The stub whose command line is *words*: program, ``<model>/<version>/model.py``, region and more."""
    if len(words) < 3 or not words[0].endswith(PROGRAM):
        return None
    return Stub(pid, Path(words[1]).parents[1], words[2])


def _command_line(pid: int) -> list[str]:
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:  # it ended meanwhile, or is another user's
        return []


def listener_pid(address: str) -> int | None:
    """The process that listens on a ``unix:`` address; None for TCP, and where nobody listens."""
    if not address.startswith("unix:"):
        return None
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
        probe.connect(address.removeprefix("unix:"))
        credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", credentials)[0])
    return None
