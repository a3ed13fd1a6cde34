"""Import arrows: what import-linter's contracts leave open."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOMAINS = sorted(ROOT.glob("services/*/predmesh_*/domain.py"))


def imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return plain | {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda path: path.parent.name)
def test_a_domain_imports_only_values_and_errors(domain: Path) -> None:
    ours = {name for name in imported(domain) if name.startswith("predmesh")}
    assert {name.split(".")[0] for name in ours} <= {
        "predmesh_frame",
        "predmesh_bundle",
        "predmesh_rpc",
        domain.parent.name,
    }


def test_every_service_has_a_domain() -> None:
    assert len(DOMAINS) == 5
