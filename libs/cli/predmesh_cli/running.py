"""The mesh that was started in a home: its settings, whether it runs, and where it answers."""

from __future__ import annotations

from predmesh_rpc.addresses import LOOPBACK

from predmesh_cli.errors import CliError, ExitCode
from predmesh_cli.home import Home
from predmesh_cli.mesh_settings import MeshSettings, read_settings
from predmesh_cli.supervisor_client import Supervisor


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
