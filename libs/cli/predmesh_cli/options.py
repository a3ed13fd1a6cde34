"""Options that several commands share, and what they name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from predmesh_bundle.store import Store

from predmesh_cli.home import Home

DEFAULT_HOME = Path(".predmesh")

HomeOption = Annotated[
    Path,
    typer.Option("--home", envvar="PREDMESH_HOME", help="Folder of the mesh; two meshes have two.", show_default=True),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]


def open_store(home: Path) -> Store:
    """The store of bundles: the one that PREDMESH_STORE names, or that of the mesh in *home*."""
    named = os.environ.get("PREDMESH_STORE")
    return Store(Path(named).expanduser().resolve() if named else Home.at(home).store)
