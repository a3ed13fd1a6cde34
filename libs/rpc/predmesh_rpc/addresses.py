"""Addresses of servers: ``unix:/path`` or ``host:port``; and the care that socket files need."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

LOOPBACK = "127.0.0.1"

LONGEST_SOCKET_PATH = 107
"""Bytes that Linux allows in the path of a unix socket."""


class AddressError(Exception):
    """An address that cannot be listened on; the message says what to do."""


def socket_path(address: str) -> Path | None:
    """The file of a unix address; None for a TCP one.

    Raises:
        AddressError: the path is longer than the system allows.
    """
    if not address.startswith("unix:"):
        return None
    path = address.removeprefix("unix://").removeprefix("unix:")
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        raise AddressError(
            f"socket path {path} is longer than {LONGEST_SOCKET_PATH} bytes; set PREDMESH_HOME to a shorter folder"
        )
    return Path(path)


def clear_stale(path: Path) -> None:
    """Remove the socket file that a dead process left, and make its folder.

    Raises:
        AddressError: a live process listens on it, or the file is no socket.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise AddressError(f"{path} is there and is no socket; move it away")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        if probe.connect_ex(str(path)) == 0:
            raise AddressError(f"another process listens on {path}; end it, or set another address")
    path.unlink(missing_ok=True)


@contextmanager
def private_files() -> Iterator[None]:
    """Let files made in the block be readable and writable by their owner alone."""
    before = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(before)


def identity(path: Path) -> tuple[int, int] | None:
    """What tells this file from another of the same name; None if there is none."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def host_and_port(address: str) -> tuple[str, int]:
    """The parts of a TCP address.

    Raises:
        AddressError: it is none.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise AddressError(f"address {address!r} is neither unix:/path nor host:port, e.g. 127.0.0.1:9000")
    return host.strip("[]"), int(port)


def free_ports(count: int) -> list[int]:
    """*count* different loopback ports that nothing holds now."""
    with ExitStack() as stack:
        probes = [stack.enter_context(closing(socket.socket())) for _ in range(count)]
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
