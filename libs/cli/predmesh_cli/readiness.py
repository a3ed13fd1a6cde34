"""Waits until every program of a mesh is ready, and says what keeps it from being so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from predmesh_cli.errors import CliError, ExitCode
from predmesh_cli.health import Health, ask_all
from predmesh_cli.logs import last_lines
from predmesh_cli.processes import read_record
from predmesh_cli.supervisor_client import Supervisor, SupervisorDown
from predmesh_cli.written import Described

READY_SECONDS = 120.0
ASK_AGAIN_SECONDS = 0.1
STARTS_OF_A_CRASH_LOOP = 3

OnProgress = Callable[[Mapping[str, Health]], None]


def wait_until_ready(described: Described, *, on_progress: OnProgress, wait_seconds: float) -> None:
    """Return once every program is healthy.

    Raises:
        CliError: the time is up, or a program fails again and again; with the last lines of its log.
    """
    end_time = time.monotonic() + wait_seconds
    before = _starts(described)
    while True:
        health = asyncio.run(ask_all(described.programs, gateway_url=described.gateway_url))
        on_progress(health)
        if all(answer.serving for answer in health.values()):
            return
        failing = _failing(described, before)
        if failing or time.monotonic() > end_time:
            waiting = [name for name, answer in health.items() if not answer.serving]
            raise _not_ready(described, failing or waiting, health)
        time.sleep(ASK_AGAIN_SECONDS)


def _starts(described: Described) -> dict[str, int]:
    """How often each program was started since `up`."""
    records = {program.name: read_record(described.mesh.home.record(program.name)) for program in described.programs}
    return {name: record.starts if record else 0 for name, record in records.items()}


def _failing(described: Described, before: Mapping[str, int]) -> list[str]:
    """Programs that have ended again and again since they were started *before* times."""
    try:
        waiting = Supervisor(described.supervisor_socket).waiting()
    except SupervisorDown:
        return ["supervisor"]
    starts = _starts(described)
    return [name for name in waiting if starts[name] - before[name] >= STARTS_OF_A_CRASH_LOOP]


def _not_ready(described: Described, names: list[str], health: Mapping[str, Health]) -> CliError:
    home = described.mesh.home
    parts = [
        f"{name}: {health[name].detail if name in health else 'ended'}\n" + last_lines(home.log(name), 8)
        for name in names
    ]
    return CliError(
        "the mesh is not ready\n" + "\n".join(parts),
        hint="it goes on trying: see `predmesh status` and `predmesh logs`, or end it with `predmesh down`",
        code=ExitCode.UNHEALTHY,
    )
