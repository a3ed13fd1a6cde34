"""The supervisor's configuration as a pure function of the topology."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from predmesh_cli.topology import Program

RETRIES_BEFORE_GIVING_UP = 1_000_000_000
"""Never: the pause grows by a second a failure, so that a day of failures is some 400 of them."""

STEADY_SECONDS = 3
"""A program that ends sooner waits before it is started again."""

LOG_BYTES = 10 * 1024 * 1024
LOG_BACKUPS = 3


def supervisor_ini(
    programs: Sequence[Program], *, run: Path, logs: Path, socket: Path, launcher: Sequence[str], specs: Path
) -> str:
    """The INI that runs *programs*, each through *launcher* with its file in *specs*."""
    sections = [_daemon(run, logs), _rpc(socket), *(_program(item, logs, launcher, specs) for item in programs)]
    return "\n\n".join([*sections, *_groups(programs)]) + "\n"


def _section(title: str, **values: object) -> str:
    return "\n".join([f"[{title}]", *(f"{key}={_plain(str(value))}" for key, value in values.items())])


def _plain(value: str) -> str:
    """*value* as the supervisor reads it back: a percent sign would be an expansion."""
    return value.replace("%", "%%")


def _daemon(run: Path, logs: Path) -> str:
    return _section(
        "supervisord",
        nodaemon="true",
        silent="true",
        pidfile=run / "supervisord.pid",
        logfile=logs / "supervisor.log",
        logfile_maxbytes=LOG_BYTES,
        logfile_backups=LOG_BACKUPS,
        childlogdir=logs,
        loglevel="info",
        minfds=4096,
        minprocs=100,
    )


def _rpc(socket: Path) -> str:
    return "\n\n".join(
        (
            _section("unix_http_server", file=socket, chmod="0700"),
            _section(
                "rpcinterface:supervisor",
                **{"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
            ),
        )
    )


def _program(program: Program, logs: Path, launcher: Sequence[str], specs: Path) -> str:
    return _section(
        f"program:{program.name}",
        command=shlex.join([*launcher, str(specs / f"{program.name}.json")]),
        autostart="true",
        autorestart="true",
        startsecs=STEADY_SECONDS,
        startretries=RETRIES_BEFORE_GIVING_UP,
        stopsignal="TERM",
        stopwaitsecs=program.stop_seconds,
        stopasgroup=str(program.stop_as_group).lower(),
        killasgroup="true",
        redirect_stderr="true",
        stdout_logfile=logs / f"{program.name}.log",
        stdout_logfile_maxbytes=LOG_BYTES,
        stdout_logfile_backups=LOG_BACKUPS,
    )


def _groups(programs: Sequence[Program]) -> list[str]:
    """One group a tier: the supervisor ends groups one after the other, and the programs of one at once."""
    tiers = sorted({program.kind.tier for program in programs})
    return [
        _section(
            f"group:{tier.name.lower()}",
            programs=",".join(program.name for program in programs if program.kind.tier is tier),
            priority=int(tier),
        )
        for tier in tiers
    ]
