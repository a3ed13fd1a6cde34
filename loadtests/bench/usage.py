"""What a server used: CPU time and memory of each of its programs, and the machine it ran on."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
from predmesh_cli.processes import pss_bytes

Pids = Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured."""

    cpu: str
    cores: int
    memory_gib: float
    kernel: str
    python: str
    commit: str

    @classmethod
    def this(cls) -> Machine:
        """This machine."""
        models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
        return cls(
            cpu=models[0].partition(":")[2].strip() if models else platform.machine(),
            cores=len(os.sched_getaffinity(0)),
            memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
            kernel=platform.release(),
            python=platform.python_version(),
            commit=commit.stdout.strip(),
        )

    def __str__(self) -> str:
        return f"{self.cores} cores of {self.cpu}, {self.memory_gib:g} GiB, Linux {self.kernel}, commit {self.commit}"


def cpu_seconds(pids: Pids) -> dict[int, float]:
    """User and system time of each of *pids* since it started; one that has ended is left out."""
    spent = {}
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            times = psutil.Process(pid).cpu_times()
            spent[pid] = times.user + times.system
    return spent


def cpu_by_program(pids: Pids, before: Mapping[int, float], after: Mapping[int, float]) -> dict[str, float]:
    """CPU seconds each program spent between two readings; a process that began between them counts whole."""
    spent: dict[str, float] = {}
    for pid, seconds in after.items():
        spent[pids[pid]] = spent.get(pids[pid], 0.0) + seconds - before.get(pid, 0.0)
    return spent


def memory_by_program(pids: Pids) -> dict[str, int]:
    """Bytes (PSS) of each program."""
    memory: dict[str, int] = {}
    for pid, name in pids.items():
        memory[name] = memory.get(name, 0) + pss_bytes(pid)
    return memory
