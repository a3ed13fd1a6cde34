"""Envoy's admin page, over loopback or a unix socket: is it ready, where does it listen, what has it counted."""

from __future__ import annotations

import http.client
import json
import socket


class AdminDown(Exception):
    """The admin page does not answer."""


def get(admin_address: str, path: str, *, method: str = "GET", timeout_seconds: float = 2.0) -> str:
    """The answer of the admin page at *admin_address* (`host:port` or `unix:/path`) to *path*.

    Raises:
        AdminDown: nothing answers there, or it refuses.
    """
    connection = _connection(admin_address, timeout_seconds)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        text = answer.read().decode()
    except (OSError, http.client.HTTPException) as error:
        raise AdminDown(f"the gateway's admin page at {admin_address} does not answer: {error}") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise AdminDown(f"the gateway's admin page at {admin_address} answered {answer.status} to {path}")
    return text


def ready(admin_address: str) -> bool:
    """Whether Envoy serves."""
    try:
        return get(admin_address, "/ready").strip() == "LIVE"
    except AdminDown:
        return False


def listening_on(admin_address: str) -> str:
    """Where the public listener is bound, also when it was asked for port 0.

    Raises:
        AdminDown: as `get`, or there is no listener yet.
    """
    for status in json.loads(get(admin_address, "/listeners?format=json")).get("listener_statuses", []):
        bound = status["local_address"]
        if "socket_address" in bound:
            return f"{bound['socket_address']['address']}:{bound['socket_address']['port_value']}"
        return f"unix:{bound['pipe']['path']}"
    raise AdminDown(f"the gateway at {admin_address} has no listener yet")


def statistics(admin_address: str, *, matching: str = "") -> dict[str, float]:
    """Counters and gauges by name, those whose name matches the expression *matching*."""
    pattern = f"&filter={matching}" if matching else ""
    found = json.loads(get(admin_address, f"/stats?format=json{pattern}"))["stats"]
    return {one["name"]: one["value"] for one in found if "value" in one}


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _connection(admin_address: str, timeout_seconds: float) -> http.client.HTTPConnection:
    if admin_address.startswith("unix:"):
        return _UnixConnection(admin_address.removeprefix("unix:"), timeout_seconds)
    return http.client.HTTPConnection(admin_address, timeout=timeout_seconds)
