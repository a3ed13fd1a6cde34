"""`predmesh up` and `predmesh down`."""

from __future__ import annotations

from typing import Annotated

import typer

from predmesh_cli import console, ending, readiness, starting
from predmesh_cli.home import Home, socket_folder
from predmesh_cli.locking import locked
from predmesh_cli.mesh_settings import asked_port, asked_workers, read_settings
from predmesh_cli.options import DEFAULT_HOME, HomeOption, JsonOption

app = typer.Typer()

PortOption = Annotated[
    int | None,
    typer.Option(
        "--port",
        min=0,
        max=65535,
        show_default=False,
        help="Port on 127.0.0.1; 0 chooses a free one. Default: PREDMESH_PORT, else the one used last, else 8080.",
    ),
]
WorkersOption = Annotated[
    str | None,
    typer.Option(
        "--workers",
        metavar="auto|N|SERVICE=N,…",
        show_default=False,
        help="Processes of prediction, features and preprocessing. "
        "Default: PREDMESH_WORKERS, else the one used last, else auto.",
    ),
]
TimeoutOption = Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait until all is ready.")]


@app.command()
def up(
    home: HomeOption = DEFAULT_HOME,
    port: PortOption = None,
    workers: WorkersOption = None,
    timeout: TimeoutOption = readiness.READY_SECONDS,
    as_json: JsonOption = False,
) -> None:
    """Start the mesh on this machine; return when all of it is ready, and leave it running."""
    place = Home.at(home)
    with (
        console.progress("starting the mesh") as shown,
        locked(place.lock_file, on_wait=shown.step),
    ):
        asked = starting.Asked(port=asked_port(port), workers=asked_workers(workers))
        started = starting.start(place, asked, on_step=shown.step, on_progress=shown.health, wait_seconds=timeout)
    url = started.described.gateway_url
    if as_json:
        console.print_json({"url": url, "home": str(place.root), "seconds": started.seconds, "fresh": started.fresh})
        return
    what = f"ready in {started.seconds:.1f} s" if started.fresh else "running already"
    console.out.print(f"[green]The mesh is {what}[/]: {url}")
    console.out.print("It stays up; `predmesh status` shows it, `predmesh down` ends it.")


@app.command()
def down(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """End the mesh, whole or half dead; nothing of it is left running."""
    place = Home.at(home)
    settings = read_settings(place.settings_file) if place.root.is_dir() else None
    sockets = (settings.sockets if settings else None) or socket_folder(place)
    ended = ending.Ended(0, ())
    if place.root.is_dir():
        with console.progress("ending the mesh") as shown, locked(place.lock_file, on_wait=shown.step):
            ended = ending.end(place, sockets, on_progress=shown.step)
    if as_json:
        console.print_json({"processes": ended.processes, "removed": [str(path) for path in ended.files]})
    elif ended.processes:
        console.out.print(f"The mesh has ended: {ended.processes} processes, no socket or shared memory left.")
    else:
        console.out.print(f"No mesh was running in {place.root}.")
