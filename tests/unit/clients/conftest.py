"""Contracts that clients are generated for, and where a generated package lies."""

from pathlib import Path

import pytest
from predmesh_bundle.loading import parse_bundle
from predmesh_compiler.contracts import Contract, contract
from predmesh_compiler.lock import Lock, parse_lock

GOLDEN = Path(__file__).parents[1] / "compiler" / "golden"
FLIGHTS = Path(__file__).parents[3] / "examples" / "flights" / "bundle"


@pytest.fixture
def flights() -> Contract:
    """Has an explanation; its inputs are texts, a time and a number."""
    return contract(parse_bundle((FLIGHTS / "predmesh.yaml").read_bytes()), Lock())


@pytest.fixture
def everything() -> Contract:
    """Has every type, shapes and enums."""
    folder = GOLDEN / "everything"
    lock = parse_lock((folder / "predmesh.lock.yaml").read_bytes())
    return contract(parse_bundle((folder / "predmesh.yaml").read_bytes()), lock)
