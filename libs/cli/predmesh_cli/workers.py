"""How many processes each service has: what was asked for, and what `auto` makes of the cores that there are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from predmesh_bundle.nearest import hint

SERVICES = ("features", "preprocessing", "inference", "explanation", "prediction")
SCALED = ("prediction", "features", "preprocessing")
"""The services on the path of a prediction; they alone may have several processes."""
AUTO = "auto"
MOST_WORKERS = 64

CORES_A_PREDICTION = 3
"""A third of the CPU time of a mesh under load is prediction's (ADR 0013), which one process turns to one core."""
PREDICTIONS_A_STAGE = 3
"""Processes of prediction that one of features and one of preprocessing keep up with."""

Counts = Mapping[str, int]
"""Processes by service; one that is not named has one."""


class WorkersError(ValueError):
    """Numbers of processes that cannot be; the message says what can."""


def worker_counts(asked: str, cores: int) -> dict[str, int]:
    """Processes of each of SCALED.

    Args:
        asked: `auto`, a number for each of them, or `service=number` with commas, where what is not named is `auto`.
        cores: what `auto` counts with.

    Raises:
        WorkersError: it is none of these.
    """
    auto = automatic(cores)
    counts = dict(auto)
    for part in filter(None, (part.strip() for part in asked.split(","))):
        service, equals, number = part.rpartition("=")
        if equals and service not in SCALED:
            raise WorkersError(f"no service {service!r} has workers; {hint(service, SCALED)}")
        for each in [service] if equals else SCALED:
            counts[each] = auto[each] if number == AUTO else _number(number)
    return counts


def _number(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_WORKERS:
        raise WorkersError(
            f"workers must be {AUTO}, a number from 1 to {MOST_WORKERS} or e.g. prediction=2,features=1, not {text!r}"
        )
    return int(text)


def automatic(cores: int) -> dict[str, int]:
    """What `auto` means on *cores*: one process each up to five cores."""
    predictions = min(MOST_WORKERS, max(1, cores // CORES_A_PREDICTION))
    stages = -(-predictions // PREDICTIONS_A_STAGE)
    return {"prediction": predictions, "features": stages, "preprocessing": stages}


def gateway_threads(counts: Counts) -> int:
    """Threads of a gateway that keeps up: one takes two thirds of the CPU time of a prediction."""
    return counts.get("prediction", 1)


def worker_names(service: str, counts: Counts) -> tuple[str, ...]:
    """The programs of *service*: its own name, or `prediction.0`, `prediction.1` … where there are several."""
    count = counts.get(service, 1)
    return (service,) if count == 1 else tuple(f"{service}.{number}" for number in range(count))


def shown(counts: Counts) -> str:
    """*counts* as `worker_counts` reads them."""
    return ",".join(f"{service}={count}" for service, count in counts.items())


def service_of(program: str) -> str:
    """The service that *program* is a process of."""
    return program.partition(".")[0]


def available_cores(cgroups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """Cores that this process may really use: those it may run on, and no more than its control groups grant."""
    granted = [_granted(folder / "cpu.max") for folder in _groups(cgroups, own)]
    return max(1, int(min([len(os.sched_getaffinity(0)), *granted])))


def _groups(cgroups: Path, own: Path) -> list[Path]:
    """The folders of this process's control group (version 2) and of those around it."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return []
    inner = next((line.removeprefix("0::").strip("/") for line in lines if line.startswith("0::")), "")
    folder = cgroups / inner
    return [each for each in (folder, *folder.parents) if each.is_relative_to(cgroups)]


def _granted(file: Path) -> float:
    """Cores of a `cpu.max`, e.g. 1.5 for `150000 100000`; infinite where there is no limit."""
    try:
        quota, period = file.read_text().split()
        return float(quota) / float(period)
    except (OSError, ValueError):  # `max 100000` is no limit
        return float("inf")
