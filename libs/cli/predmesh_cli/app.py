"""The `predmesh` command line: finds the commands and turns errors into messages and exit codes."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import typer
import typer.core
import typer.main

from predmesh_cli import console
from predmesh_cli.errors import CliError, ExitCode

COMMANDS = {
    "up": "lifecycle",
    "down": "lifecycle",
    "status": "watching",
    "logs": "watching",
    "predict": "predictions",
    "explain": "predictions",
    "models": "bundles",
    "new": "bundles",
    "check": "bundles",
    "compile": "bundles",
    "client": "clients",
    "deploy": "bundles",
    "undeploy": "bundles",
    "clock": "bundles",
    "doctor": "machine",
    "version": "machine",
}
"""Every command, in the order in which people read them, and its module below ``commands``."""


class LazyCommands(typer.core.TyperGroup):
    """Imports a command's module when it is called: those of bundles alone take half a second."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name; None where there is none."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"predmesh_cli.commands.{COMMANDS[cmd_name]}")
        return typer.main.get_group(module.app).get_command(ctx, cmd_name)


app = typer.Typer(
    name="predmesh",
    cls=LazyCommands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def root() -> None:
    """Run a mesh of model services on this machine, deploy models to it, and ask it for predictions."""


def main() -> None:
    """Run the command line."""
    try:
        app()
    except CliError as error:
        console.print_error(error)
        sys.exit(error.code)
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        console.print_error(CliError(what, hint="look at the permissions and at the free space there"))
        sys.exit(ExitCode.FAILED)
