"""`predmesh doctor` and `predmesh version`."""

from __future__ import annotations

import importlib.metadata

import typer
from rich.markup import escape
from rich.table import Table

from predmesh_cli import console, machine
from predmesh_cli.errors import ExitCode
from predmesh_cli.home import Home
from predmesh_cli.machine import Finding, Verdict
from predmesh_cli.mesh_settings import DEFAULT_PORT, asked_port, read_settings
from predmesh_cli.options import DEFAULT_HOME, HomeOption, JsonOption

app = typer.Typer()

COLOURS = {Verdict.HERE: "green", Verdict.OPTIONAL: "yellow", Verdict.NEEDED: "red"}


@app.command()
def doctor(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Tell what this machine has, what is missing, and what each missing thing costs; 1 when the mesh cannot run."""
    place = Home.at(home)
    settings = read_settings(place.settings_file)
    port = asked_port(None) or (settings.port if settings else DEFAULT_PORT)
    findings = machine.examine(place.root, port)
    broken = any(finding.verdict is Verdict.NEEDED for finding in findings)
    if as_json:
        console.print_json({"ok": not broken, "findings": [_document(finding) for finding in findings]})
    else:
        _show(findings, broken)
    if broken:
        raise typer.Exit(ExitCode.FAILED)


def _document(finding: Finding) -> dict[str, str]:
    return {"name": finding.name, "verdict": finding.verdict.value, "found": finding.found, "cost": finding.cost}


def _show(findings: list[Finding], broken: bool) -> None:
    table = Table(
        "what", "verdict", "found, or what it costs to do without", box=None, pad_edge=False, header_style="bold"
    )
    for finding in findings:
        said = "; ".join(part for part in (finding.found, finding.cost) if part)
        table.add_row(finding.name, f"[{COLOURS[finding.verdict]}]{finding.verdict.value}[/]", escape(said))
    console.out.print(table)
    console.out.print("\n[red]the mesh cannot run here yet[/]" if broken else "\n[green]the mesh can run here[/]")


@app.command()
def version(as_json: JsonOption = False) -> None:
    """Show the version of predmesh and of the engines it would start."""
    found = {"predmesh": importlib.metadata.version("predmesh-cli"), **_engines()}
    if as_json:
        console.print_json(found)
        return
    for name, value in found.items():
        console.out.print(f"{name:<10} {escape(value)}")


def _engines() -> dict[str, str]:
    return {finding.name.lower(): finding.found or "missing" for finding in machine.engines()}
