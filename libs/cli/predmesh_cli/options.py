"""Options that several commands share, and the home that they name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from predmesh_bundle.store import Store
from predmesh_rpc.addresses import LOOPBACK

from predmesh_cli.errors import CliError, ExitCode
from predmesh_cli.home import Home
from predmesh_cli.mesh_settings import MeshSettings, read_settings
from predmesh_cli.supervisor_client import Supervisor

DEFAULT_HOME = Path(".predmesh")

HomeOption = Annotated[
    Path,
    typer.Option("--home", envvar="PREDMESH_HOME", help="Folder of the mesh; two meshes have two.", show_default=True),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]


def kept_settings(home: Home) -> MeshSettings:
    """The settings of a mesh that was started in *home* before.

    Raises:
        CliError: none was.
    """
    settings = read_settings(home.settings_file)
    if settings is None or settings.sockets is None:
        raise CliError(
            f"no mesh was started in {home.root}",
            hint="start one with `predmesh up`, or name its folder with --home or PREDMESH_HOME",
            code=ExitCode.NOT_RUNNING,
        )
    return settings


def open_store(home: Path) -> Store:
    """The store of bundles: the one that PREDMESH_STORE names, or that of the mesh in *home*."""
    named = os.environ.get("PREDMESH_STORE")
    return Store(Path(named).expanduser().resolve() if named else Home.at(home).store)


def is_running(settings: MeshSettings) -> bool:
    """Whether the mesh's supervisor answers."""
    return settings.sockets is not None and Supervisor(settings.sockets / "supervisor.sock").answers()


def gateway_url(home: Home) -> str:
    """The base of the running mesh's REST calls.

    Raises:
        CliError: it does not run; somebody else may listen on its port.
    """
    settings = kept_settings(home)
    if not is_running(settings):
        raise not_running(home)
    return f"http://{LOOPBACK}:{settings.port}"


def not_running(home: Home) -> CliError:
    """The error of a command that needs a running mesh."""
    return CliError(
        f"the mesh in {home.root} is not running", hint="start it with `predmesh up`", code=ExitCode.NOT_RUNNING
    )
