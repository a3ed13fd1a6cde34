"""What the commands of the load tests have in common: options of the mesh, where results go, how they tell."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TypedDict

RESULTS = Path(__file__).resolve().parents[1] / "results"


class MeshOptions(TypedDict):
    """How a mesh is started."""

    workers: str
    bundle: Path | None
    patch: Path | None


def add_mesh_options(parser: argparse.ArgumentParser) -> None:
    """Options that say how the mesh under measurement differs from the usual one."""
    parser.add_argument("--workers", default="", metavar="N", help="processes a service, as `predmesh up --workers`")
    parser.add_argument("--bundle", type=Path, help="bundle to deploy in place of the example's flights")
    parser.add_argument("--patch", type=Path, help="YAML whose keys replace those of the flights' bundle: placement")


def mesh_options(options: argparse.Namespace) -> MeshOptions:
    """What was asked for."""
    return MeshOptions(workers=options.workers, bundle=options.bundle, patch=options.patch)


def say(words: str) -> None:
    """Tells how far it is."""
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)
