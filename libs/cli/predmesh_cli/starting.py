"""Starts a mesh, or finds it running, and waits until all of it is ready."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from predmesh_cli import ports, processes
from predmesh_cli.ending import end, traces
from predmesh_cli.errors import CliError, ExitCode
from predmesh_cli.health import Health, ask_all
from predmesh_cli.home import Home
from predmesh_cli.launch import MARK
from predmesh_cli.logs import last_lines
from predmesh_cli.mesh_settings import MeshSettings, completed, read_settings, settings_text
from predmesh_cli.passwords import write_private
from predmesh_cli.supervisor_client import Supervisor, SupervisorDown
from predmesh_cli.written import Described, describe, inherited, write

READY_SECONDS = 120.0
ASK_AGAIN_SECONDS = 0.1
STARTS_OF_A_CRASH_LOOP = 4
LEAST_FREE_BYTES = 200 * 1024 * 1024

OnProgress = Callable[[Mapping[str, Health]], None]
OnStep = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Started:
    """A mesh that is ready."""

    described: Described
    seconds: float
    fresh: bool
    """Whether it was started now; else it ran already."""


def start(home: Home, *, port: int | None, on_step: OnStep, on_progress: OnProgress, wait_seconds: float) -> Started:
    """Have a ready mesh in *home*: started now, or found running and complete.

    Raises:
        CliError: it cannot start, or is not ready in time; the message says which part and why.
    """
    begin = time.monotonic()
    described, fresh = _running_or_started(home, port, on_step)
    try:
        wait_until_ready(described, on_progress=on_progress, wait_seconds=wait_seconds)
    except KeyboardInterrupt:
        if fresh:
            on_step("interrupted: ending what was started")
            end(home, _sockets(described.mesh.settings), on_progress=on_step)
        raise
    return Started(described, time.monotonic() - begin, fresh)


def _running_or_started(home: Home, port: int | None, on_step: OnStep) -> tuple[Described, bool]:
    kept = read_settings(home.settings_file)
    if kept is not None and kept.sockets is not None and Supervisor(kept.sockets / "supervisor.sock").answers():
        return _running(home, kept, port), False
    _check_name(home)
    if kept is not None:
        _clean(home, kept, on_step)
    settings = completed(kept or MeshSettings(), home, port=port, is_free=ports.is_free, free_ports=ports.free_ports)
    check_port(settings.port)
    with _disk_errors(home):
        home.make()
        check_disk(home)
        described = describe(home, settings)
        write_private(home.settings_file, settings_text(settings))
        write(described)
    on_step("starting the supervisor")
    _spawn_supervisor(described)
    return described, True


def _running(home: Home, kept: MeshSettings, port: int | None) -> Described:
    if port not in (None, 0, kept.port):
        raise CliError(
            f"this mesh already runs on port {kept.port}, not {port}",
            hint="run `predmesh down` first, or choose another --home for a second mesh",
        )
    described = describe(home, kept)
    Supervisor(described.supervisor_socket).start_waiting()
    return described


def _check_name(home: Home) -> None:
    if any(mark in str(home.root) for mark in (" ;", " #", "\n")):
        raise CliError(f"the home's path {home.root} holds ` ;`, ` #` or a line break", hint="choose another --home")


def _clean(home: Home, kept: MeshSettings, on_step: OnStep) -> None:
    """Clear what a killed supervisor or a machine crash left."""
    sockets = _sockets(kept)
    if processes.of_mesh(home) or traces(home, sockets):
        on_step("clearing what an earlier run left")
        end(home, sockets, on_progress=on_step)


def _sockets(settings: MeshSettings) -> Path:
    assert settings.sockets is not None
    return settings.sockets


def check_port(port: int) -> None:
    """Refuse a gateway port that is taken, naming its holder as far as this user may see it."""
    if ports.is_free(port):
        return
    holder = ports.holder(port)
    who = f" by {holder.name} (pid {holder.pid}: {holder.command})" if holder else ""
    raise CliError(
        f"port {port} of {ports.LOOPBACK} is in use{who}",
        hint="choose another with `predmesh up --port PORT` (0 chooses a free one), or end what holds it",
    )


def check_disk(home: Home) -> None:
    """Refuse to start where logs and the online store would soon fail to write."""
    free = shutil.disk_usage(home.root).free
    if free < LEAST_FREE_BYTES:
        raise CliError(
            f"only {free // 2**20} MB are free where the mesh writes ({home.root})",
            hint="free at least 200 MB there, or choose another folder with --home",
        )


@contextlib.contextmanager
def _disk_errors(home: Home) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CliError(
            f"cannot write the mesh's files in {home.root}: {error.strerror or error}",
            hint="free some space or mend the permissions there, or choose another folder with --home",
        ) from error


def _spawn_supervisor(described: Described) -> None:
    home = described.mesh.home
    environment = {**inherited(os.environ), MARK: f"{home.root}:supervisor"}
    # Its deprecation warnings concern its own maintainers.
    command = [sys.executable, "-W", "ignore", "-m", "supervisor.supervisord", "-c", str(home.supervisor_configuration)]
    with (home.logs / "supervisor.start.log").open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=home.run,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    supervisor = Supervisor(described.supervisor_socket)
    while not supervisor.answers():
        if process.poll() is not None:
            raise CliError(
                "the supervisor ended at once:\n" + last_lines(home.logs / "supervisor.start.log", 10),
                hint=f"see {home.log('supervisor')}",
            )
        time.sleep(0.02)
    # It outlives this command: nobody waits for it.
    process.returncode = 0


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
            raise _not_ready(
                described, failing or [name for name, answer in health.items() if not answer.serving], health
            )
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
