"""The `predmesh` command line: mounts the commands and turns errors into messages and exit codes."""

from __future__ import annotations

import sys

import typer

from predmesh_cli import console
from predmesh_cli.commands import lifecycle
from predmesh_cli.errors import CliError

app = typer.Typer(
    name="predmesh",
    help="Runs a mesh of model services on this machine, deploys models to it, and asks it for predictions.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (lifecycle,):
    app.add_typer(part.app)


def main() -> None:
    """Run the command line."""
    try:
        app()
    except CliError as error:
        console.print_error(error)
        sys.exit(error.code)
