"""Ports of this machine: which are free, and who holds one."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass

import psutil
from predmesh_rpc.addresses import LOOPBACK


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that listens on a port, as far as this user may see."""

    pid: int
    name: str
    command: str


def is_free(port: int) -> bool:
    """Whether nothing listens on *port* of the loopback interface."""
    with contextlib.closing(socket.socket()) as probe:
        # Without SO_REUSEPORT, so that a gateway which set it does not share its port with a second one.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def holder(port: int) -> Holder | None:
    """Who listens on *port*; None where nobody does or this user may not see it."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
                return described(connection.pid)
    return None


def described(pid: int) -> Holder:
    """The process *pid* in words."""
    process = psutil.Process(pid)
    return Holder(pid, process.name(), " ".join(process.cmdline())[:120])
