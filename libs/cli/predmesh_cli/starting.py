"""Starts a mesh, or finds it running, and waits until all of it is ready."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from predmesh_rpc.addresses import free_ports

from predmesh_cli import ports, processes
from predmesh_cli.ending import end, traces
from predmesh_cli.errors import CliError
from predmesh_cli.home import Home
from predmesh_cli.launch import MARK
from predmesh_cli.logs import last_lines
from predmesh_cli.mesh_settings import MeshSettings, completed, read_settings, settings_text
from predmesh_cli.obstacles import check_disk, check_name, check_port, disk_errors
from predmesh_cli.passwords import write_private
from predmesh_cli.readiness import OnProgress, wait_until_ready
from predmesh_cli.running import is_running
from predmesh_cli.supervisor_client import Supervisor
from predmesh_cli.workers import available_cores, shown, worker_counts
from predmesh_cli.written import Described, describe, inherited, write

OnStep = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Started:
    """A mesh that is ready."""

    described: Described
    seconds: float
    fresh: bool
    """Whether it was started now; else it ran already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the caller of `up` asks for; None leaves it as it was."""

    port: int | None = None
    """The gateway's; 0 is any free one."""
    workers: str | None = None
    """Processes a service, as `worker_counts` takes them."""


def start(home: Home, asked: Asked, *, on_step: OnStep, on_progress: OnProgress, wait_seconds: float) -> Started:
    """Have a ready mesh in *home*: started now, or found running and complete.

    Raises:
        CliError: it cannot start, or is not ready in time; the message says which part and why.
    """
    begin = time.monotonic()
    kept = read_settings(home.settings_file)
    ran = kept is not None and is_running(kept)
    try:
        described = _running(home, kept, asked) if kept is not None and ran else _started(home, kept, asked, on_step)
        wait_until_ready(described, on_progress=on_progress, wait_seconds=wait_seconds)
    except KeyboardInterrupt:
        if not ran:
            on_step("interrupted: ending what was started")
            _clean(home, read_settings(home.settings_file), on_step)
        raise
    return Started(described, time.monotonic() - begin, fresh=not ran)


def _started(home: Home, kept: MeshSettings | None, asked: Asked, on_step: OnStep) -> Described:
    check_name(home)
    _clean(home, kept, on_step)
    settings = completed(
        kept or MeshSettings(),
        home,
        port=asked.port,
        workers=asked.workers,
        cores=available_cores(),
        is_free=ports.is_free,
        free_ports=free_ports,
    )
    check_port(settings.port)
    with disk_errors(home):
        home.make()
        check_disk(home)
        described = describe(home, settings)
        write_private(home.settings_file, settings_text(settings))
        write(described)
    on_step("starting the supervisor")
    _spawn_supervisor(described)
    return described


def _running(home: Home, kept: MeshSettings, asked: Asked) -> Described:
    different = _different(kept, asked)
    if different:
        raise CliError(
            f"this mesh already runs {different}",
            hint="run `predmesh down` first, or choose another --home for a second mesh",
        )
    described = describe(home, kept)
    supervisor = Supervisor(described.supervisor_socket)
    if any(each.state != "RUNNING" for each in supervisor.programs().values()):
        # What fails, even if it is just being tried again, may have been mended in mesh.toml; what runs keeps what it
        # was started with.
        write(described)
        supervisor.start_waiting()
    return described


def _different(kept: MeshSettings, asked: Asked) -> str:
    """What of the running mesh is not as asked for; empty where nothing is."""
    if asked.port not in (None, 0, kept.port):
        return f"on port {kept.port}, not {asked.port}"
    if asked.workers and worker_counts(asked.workers, available_cores()) != kept.processes:
        return f"with workers {shown(kept.processes)}, not {asked.workers}"
    return ""


def _clean(home: Home, kept: MeshSettings | None, on_step: OnStep) -> None:
    """Clear what a killed supervisor, a machine crash or an interrupted start left."""
    sockets = kept.sockets if kept else None
    if sockets is not None and (processes.of_mesh(home) or traces(home, sockets)):
        on_step("clearing what an earlier run left")
        end(home, sockets, on_progress=on_step)


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
