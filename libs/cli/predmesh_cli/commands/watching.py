"""`predmesh status` and `predmesh logs`."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from predmesh_cli import console, logs
from predmesh_cli.errors import CliError, ExitCode
from predmesh_cli.home import Home
from predmesh_cli.options import DEFAULT_HOME, HomeOption, JsonOption
from predmesh_cli.processes import of_mesh
from predmesh_cli.running import kept_settings, not_running
from predmesh_cli.survey import Row, Survey, survey
from predmesh_cli.topology import program_names
from predmesh_cli.workers import Counts, service_of
from predmesh_cli.written import Described, describe

app = typer.Typer()

SecondsOption = Annotated[
    float, typer.Option("--seconds", min=0.1, max=60, help="How long to watch the traffic for requests/s and p95.")
]


@app.command()
def status(home: HomeOption = DEFAULT_HOME, seconds: SecondsOption = 1.0, as_json: JsonOption = False) -> None:
    """Show every program of the mesh; exit code 0 only when all are healthy, 3 when one is not, 4 when none runs."""
    place = Home.at(home)
    settings = kept_settings(place)
    if not of_mesh(place):
        raise not_running(place)
    described = describe(place, settings)
    seen = survey(described, seconds=seconds)
    if as_json:
        console.print_json(_document(described, seen))
    else:
        _show(described, seen)
    if not seen.healthy:
        raise typer.Exit(ExitCode.UNHEALTHY)


def _document(described: Described, seen: Survey) -> dict[str, Any]:
    return {
        "healthy": seen.healthy,
        "home": str(described.mesh.home.root),
        "url": described.gateway_url,
        "generation": seen.generation,
        "models": list(seen.models),
        "stages": dict(seen.models),
        "memory_bytes": seen.memory_bytes,
        "programs": [_program(row) for row in seen.rows],
    }


def _program(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "pid": row.pid or None,
        "state": row.state,
        "healthy": row.health.serving,
        "detail": row.health.detail,
        "dependencies": [dataclasses.asdict(each) for each in row.health.dependencies],
        "restarts": row.restarts,
        "memory_bytes": row.memory_bytes,
        "requests_per_second": row.figures.requests_per_second,
        "p95_seconds": row.figures.p95_seconds,
    }


def _show(described: Described, seen: Survey) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("service", "pid", "health"):
        table.add_column(name)
    for name in ("restarts", "memory", "requests/s", "p95"):
        table.add_column(name, justify="right")
    for row in seen.rows:
        table.add_row(*_cells(row))
    console.out.print(table)
    shown = [name if stages == "local" else f"{name} ({stages})" for name, stages in seen.models.items()]
    live = ", ".join(shown) or "none; `predmesh deploy DIR` brings one live"
    console.out.print(
        f"\n{described.gateway_url}  memory {_megabytes(seen.memory_bytes)}  generation {seen.generation}"
    )
    console.out.print(f"models: {escape(live)}")
    if not seen.healthy:
        console.out.print("[red]not healthy[/]: `predmesh logs SERVICE` shows what a service says")


def _cells(row: Row) -> tuple[str, ...]:
    figures = row.figures
    return (
        row.name,
        str(row.pid or "-"),
        _health(row),
        f"[yellow]{row.restarts}[/]" if row.restarts else "0",
        _megabytes(row.memory_bytes),
        "-" if figures.requests_per_second is None else f"{figures.requests_per_second:.1f}",
        "-" if figures.p95_seconds is None else f"{figures.p95_seconds * 1000:.2f} ms",
    )


def _health(row: Row) -> str:
    word = "[green]healthy[/]" if row.health.serving else "[red]unhealthy[/]"
    return f"{word} {escape(row.health.detail)}".rstrip()


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.0f} MB"


@app.command(name="logs")
def show_logs(
    service: Annotated[
        str | None, typer.Argument(help="One service or one of its workers; default: all.", show_default=False)
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on showing what is written.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Last lines to begin with.")] = 20,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Show what the programs wrote."""
    place = Home.at(home)
    names = _chosen(service, kept_settings(place).processes)
    paths = {name: place.log(name) for name in names}
    width = max(len(name) for name in names) if len(names) > 1 else 0
    for name, path in paths.items():
        for line in logs.tail(path, lines):
            _say(name, line, width)
    if follow:
        for name, line in logs.follow(paths):
            _say(name, line, width)


def _chosen(service: str | None, processes: Counts) -> tuple[str, ...]:
    known = (*program_names(processes), "supervisor")
    if service is None:
        return known
    if chosen := tuple(name for name in known if service in (name, service_of(name))):
        return chosen
    raise CliError(f"there is no service {service!r}", hint=f"there are {', '.join(known)}", code=ExitCode.USAGE)


def _say(name: str, line: str, width: int) -> None:
    console.out.print(f"{name:<{width}} | {line}" if width else line, markup=False, emoji=False)
