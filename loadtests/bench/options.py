"""What the commands of the load tests have in common: options of the mesh, where results go, how they tell."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import yaml

RESULTS = Path(__file__).resolve().parents[1] / "results"


class MeshOptions(TypedDict):
    """How a mesh is started."""

    workers: str
    bundle: Path | None
    patch: Mapping[str, Any] | None


def add_mesh_options(parser: argparse.ArgumentParser) -> None:
    """Options that say how the mesh under measurement differs from the usual one."""
    parser.add_argument("--workers", default="", metavar="N", help="processes a service, as `predmesh up --workers`")
    parser.add_argument("--bundle", type=Path, help="bundle to deploy in place of the example's flights")
    parser.add_argument(
        "--patch", type=_keys, metavar="YAML", help="keys of the flights' bundle to replace, e.g. 'stages: in-process'"
    )


def mesh_options(options: argparse.Namespace) -> MeshOptions:
    """What was asked for."""
    return MeshOptions(workers=options.workers, bundle=options.bundle, patch=options.patch)


def _keys(text: str) -> Mapping[str, Any]:
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise argparse.ArgumentTypeError(f"is no YAML: {error}") from None
    if not isinstance(document, dict):
        raise argparse.ArgumentTypeError("must be keys and values, e.g. 'stages: in-process'")
    return document


def end_cleanly() -> None:
    """Lets SIGTERM unwind the stack, so that what was started is ended."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def say(words: str) -> None:
    """Tells how far it is."""
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)
