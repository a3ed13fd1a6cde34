"""Waits until every program of a mesh is ready, and says what keeps it from being so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from predmesh_cli import processes
from predmesh_cli.errors import CliError, ExitCode
from predmesh_cli.health import Health, ask_all
from predmesh_cli.logs import last_lines
from predmesh_cli.supervisor_client import Supervisor, SupervisorDown
from predmesh_cli.written import Described

READY_SECONDS = 120.0
ASK_AGAIN_SECONDS = 0.1
STARTS_OF_A_CRASH_LOOP = 4

OnProgress = Callable[[Mapping[str, Health]], None]


def wait_until_ready(described: Described, *, on_progress: OnProgress, wait_seconds: float) -> None:
    """Return once every program is healthy.

    Raises:
        CliError: the time is up, or a program fails again and again; with the last lines of its log.
    """
    end_time = time.monotonic() + wait_seconds
    while True:
        health = asyncio.run(ask_all(described.programs, gateway_url=described.gateway_url))
        on_progress(health)
        if all(answer.serving for answer in health.values()):
            return
        failing = _failing(described)
        if failing or time.monotonic() > end_time:
            waiting = [name for name, answer in health.items() if not answer.serving]
            raise _not_ready(described, failing or waiting, health)
        time.sleep(ASK_AGAIN_SECONDS)


def _failing(described: Described) -> list[str]:
    """Programs that end again and again."""
    try:
        states = Supervisor(described.supervisor_socket).programs()
    except SupervisorDown:
        return ["supervisor"]
    home = described.mesh.home
    records = {name: processes.read_record(home.record(name)) for name in states}
    return [
        name
        for name, record in records.items()
        if record and record.starts >= STARTS_OF_A_CRASH_LOOP and states[name].state == "BACKOFF"
    ]


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
