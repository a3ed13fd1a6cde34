"""What an operator may change of a mesh, kept in the home's ``mesh.toml`` with the ports that were chosen."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from predmesh_cli.errors import CliError, ExitCode
from predmesh_cli.home import Home, socket_folder
from predmesh_cli.workers import AUTO, MOST_WORKERS, SCALED, SERVICES, Counts, WorkersError, worker_counts, worker_names

DEFAULT_PORT = 8080
HIGHEST_PORT = 65535

HEAD = """\
# Settings of this mesh. `predmesh up` wrote this file and reads it again: edit it while the mesh is down.
# workers: auto, a number, or e.g. "prediction=2,features=1"; [processes] and [ports] are what the last start chose.
# [environment] reaches every program, e.g. PREDICTION_DEFAULT_DEADLINE_SECONDS = "2" or GATEWAY_CORS_ORIGINS = "https://a.example".
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshSettings:
    """The settings of one mesh."""

    port: int = DEFAULT_PORT
    """Port of the gateway on 127.0.0.1."""

    redis_max_memory_mb: int = 256
    """Online store's limit; beyond it writes are refused, nothing is evicted."""

    workers: str = AUTO
    """Processes a service, as `worker_counts` takes them."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """Further variables for every program."""

    sockets: Path | None = None
    """Folder of the unix sockets; chosen at the first `up`."""

    processes: Counts = field(default_factory=dict)
    """What `workers` came to; chosen at each `up`."""

    ports: Mapping[str, int] = field(default_factory=dict)
    """The `internal_ports`; chosen at the first `up`."""


def internal_ports(processes: Counts) -> tuple[str, ...]:
    """Names of the loopback ports that only the mesh itself uses; free ones are chosen and kept."""
    metered = ("triton", *(worker for service in SERVICES for worker in worker_names(service, processes)))
    return ("redis", *(f"{program}_metrics" for program in metered))


def read_settings(path: Path) -> MeshSettings | None:
    """The settings in *path*; None when there is no such file."""
    try:
        document = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _broken(path, str(error)) from None
    return _parsed(path, document)


def _parsed(path: Path, document: Mapping[str, Any]) -> MeshSettings:
    known = {"port", "redis_max_memory_mb", "sockets", "workers", "environment", "processes", "ports"}
    if unknown := sorted(set(document) - known):
        raise _broken(path, f"unknown setting {unknown[0]!r}; there are {', '.join(sorted(known))}")
    sockets = document.get("sockets", "")
    if not isinstance(sockets, str):
        raise _broken(path, f"sockets must be a path, not {sockets!r}")
    kept, counts = _table(path, document, "ports"), _table(path, document, "processes")
    processes = {name: _number(path, counts, name, 1, highest=MOST_WORKERS) for name in SCALED if name in counts}
    return MeshSettings(
        port=_number(path, document, "port", DEFAULT_PORT, highest=HIGHEST_PORT),
        redis_max_memory_mb=_number(path, document, "redis_max_memory_mb", 256, highest=1_000_000),
        workers=_workers(path, str(document.get("workers", AUTO))),
        environment={name: str(value) for name, value in _table(path, document, "environment").items()},
        sockets=Path(sockets) if sockets else None,
        processes=processes,
        ports={
            name: _number(path, kept, name, 0, highest=HIGHEST_PORT)
            for name in internal_ports(processes)
            if name in kept
        },
    )


def _workers(path: Path, text: str) -> str:
    try:
        worker_counts(text, cores=1)
    except WorkersError as error:
        raise _broken(path, str(error)) from None
    return text


def _number(path: Path, document: Mapping[str, Any], name: str, default: int, *, highest: int) -> int:
    value = document.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= highest:
        raise _broken(path, f"{name} must be a whole number from 1 to {highest}, not {value!r}")
    return value


def _table(path: Path, document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name, {})
    if not isinstance(value, dict):
        raise _broken(path, f"{name} must be a table")
    return value


def _broken(path: Path, problem: str) -> CliError:
    return CliError(f"{path}: {problem}", hint="mend the file, or remove it to begin with the defaults")


def settings_text(settings: MeshSettings) -> str:
    """*settings* as TOML; read_settings gives them back."""
    lines = [
        HEAD.rstrip(),
        f"port = {settings.port}",
        f"redis_max_memory_mb = {settings.redis_max_memory_mb}",
        f"workers = {_quoted(settings.workers)}",
    ]
    if settings.sockets is not None:
        lines.append(f"sockets = {_quoted(str(settings.sockets))}")
    lines += [
        "",
        "[environment]",
        *(f"{_quoted(key)} = {_quoted(value)}" for key, value in settings.environment.items()),
    ]
    lines += ["", "[processes]", *(f"{name} = {count}" for name, count in settings.processes.items())]
    lines += ["", "[ports]", *(f"{_quoted(name)} = {port}" for name, port in settings.ports.items())]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """*text* as a TOML basic string, whose escapes are JSON's."""
    return json.dumps(text, ensure_ascii=False)


def asked_port(flag: int | None, environ: Mapping[str, str] = os.environ) -> int | None:
    """The gateway's port as the flag or PREDMESH_PORT asks for it; 0 asks for any free one."""
    if flag is not None:
        return flag
    text = environ.get("PREDMESH_PORT", "")
    if not text:
        return None
    if not text.isdecimal() or int(text) > HIGHEST_PORT:
        raise CliError(f"PREDMESH_PORT must be a port number, not {text!r}", code=ExitCode.USAGE)
    return int(text)


def asked_workers(flag: str | None, environ: Mapping[str, str] = os.environ) -> str | None:
    """Numbers of processes as the flag or PREDMESH_WORKERS asks for them; None where neither does."""
    text = environ.get("PREDMESH_WORKERS", "") if flag is None else flag
    try:
        worker_counts(text, cores=1)
    except WorkersError as error:
        what = "PREDMESH_WORKERS" if flag is None else "--workers"
        raise CliError(f"{what}: {error}", code=ExitCode.USAGE) from None
    return text or None


def completed(
    settings: MeshSettings,
    home: Home,
    *,
    port: int | None,
    workers: str | None,
    cores: int,
    is_free: Callable[[int], bool],
    free_ports: Callable[[int], Sequence[int]],
) -> MeshSettings:
    """*settings* with every choice made: kept ports stay where they are still free."""
    asked = workers or settings.workers
    processes = worker_counts(asked, cores)
    names = internal_ports(processes)
    kept = {name: number for name, number in settings.ports.items() if is_free(number)}
    missing = [name for name in names if name not in kept]
    fresh = list(free_ports(len(missing) + 1))
    chosen = {**kept, **dict(zip(missing, fresh, strict=False))}
    return replace(
        settings,
        port=settings.port if port is None else port or fresh[-1],
        sockets=_usable(settings.sockets, home) or socket_folder(home),
        workers=asked,
        processes=processes,
        ports={name: chosen[name] for name in names},
    )


def _usable(sockets: Path | None, home: Home) -> Path | None:
    """The kept folder, unless it was the run folder of a home that has moved since."""
    if sockets is None or (sockets.name == home.run.name and sockets != home.run):
        return None
    return sockets
