"""HTTP to programs of this machine, over loopback or a unix socket, by the standard library alone."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path


class UnixConnection(http.client.HTTPConnection):
    """HTTP over the unix socket *path*."""

    def __init__(self, path: Path | str, *, timeout_seconds: float) -> None:
        super().__init__("localhost", timeout=timeout_seconds)
        self._path = str(path)

    def connect(self) -> None:
        """Connect, and leave no open socket behind when that fails."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(self.timeout)
            self.sock.connect(self._path)
        except OSError:
            self.sock.close()
            raise


def get(address: str, path: str, *, timeout_seconds: float) -> tuple[int, str]:
    """Status and body of GET *path* at *address*, ``host:port`` or ``unix:/path``.

    Raises:
        OSError: nothing answers there, or no HTTP.
    """
    connection = _connection(address, timeout_seconds)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP at {address}: {error}") from error
    finally:
        connection.close()


def _connection(address: str, timeout_seconds: float) -> http.client.HTTPConnection:
    if address.startswith("unix:"):
        return UnixConnection(address.removeprefix("unix:"), timeout_seconds=timeout_seconds)
    return http.client.HTTPConnection(address, timeout=timeout_seconds)
