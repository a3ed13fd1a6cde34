"""What can stand in the way of a start, said before anything is started."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

from predmesh_rpc.addresses import LOOPBACK

from predmesh_cli import ports
from predmesh_cli.errors import CliError
from predmesh_cli.home import Home

LEAST_FREE_BYTES = 200 * 1024 * 1024


def check_name(home: Home) -> None:
    """Refuse a path that the supervisor would take for the beginning of a comment."""
    if any(mark in str(home.root) for mark in (" ;", " #", "\n")):
        raise CliError(f"the home's path {home.root} holds ` ;`, ` #` or a line break", hint="choose another --home")


def check_port(port: int) -> None:
    """Refuse a gateway port that is taken, naming its holder as far as this user may see it."""
    if ports.is_free(port):
        return
    holder = ports.holder(port)
    who = f" by {holder.name} (pid {holder.pid}: {holder.command})" if holder else ""
    raise CliError(
        f"port {port} of {LOOPBACK} is in use{who}",
        hint="choose another with `predmesh up --port PORT` (0 chooses a free one), or end what holds it",
    )


def check_disk(home: Home, least_free_bytes: int = LEAST_FREE_BYTES) -> None:
    """Refuse to start where logs and the online store would soon fail to write."""
    free = shutil.disk_usage(home.root).free
    if free < least_free_bytes:
        raise CliError(
            f"only {free // 2**20} MB are free where the mesh writes ({home.root})",
            hint=f"free at least {least_free_bytes // 2**20} MB there, or choose another folder with --home",
        )


@contextlib.contextmanager
def disk_errors(home: Home) -> Iterator[None]:
    """Tell a failed write of the block in words: no space, no permission."""
    try:
        yield
    except OSError as error:
        raise CliError(
            f"cannot write the mesh's files in {home.root}: {error.strerror or error}",
            hint="free some space or mend the permissions there, or choose another folder with --home",
        ) from error
