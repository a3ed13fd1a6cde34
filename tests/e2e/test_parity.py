"""The parity suite against a real mesh: one table of requests, the same answers over every protocol."""

import json
import os
import re
import signal
import subprocess
import sys

import yaml
from predmesh_testing.running import ROOT, RunningMesh

from tests.e2e.test_trouble import eventually, pid_of
from tests.parity import explaining
from tests.parity.exceptions import EXCEPTIONS
from tests.parity.rows import EXPLAINABLE, MODEL


def asked(mesh: RunningMesh, *words: str) -> tuple[int, int]:
    """How many cases and requests the suite sent, without a difference."""
    command = [sys.executable, "-m", "tests.parity", "--url", f"http://{mesh.address}", *words]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = re.search(r"^(\d+) cases, (\d+) requests, 0 differences$", ran.stdout, re.MULTILINE)
    assert found, ran.stdout
    return int(found[1]), int(found[2])


def test_every_protocol_gives_the_same_answers(parity_mesh: RunningMesh) -> None:
    cases, requests = asked(parity_mesh)
    assert cases >= 750
    assert requests >= 10_000


def test_every_protocol_says_the_same_while_explanations_are_down(parity_mesh: RunningMesh) -> None:
    supervisor, explanation = (pid_of(parity_mesh, name) for name in ("supervisor", "explanation"))
    os.kill(supervisor, signal.SIGSTOP)  # it would start the service again
    try:
        os.kill(explanation, signal.SIGKILL)
        assert asked(parity_mesh, "--down")[0] == 3
    finally:
        os.kill(supervisor, signal.SIGCONT)
    eventually(lambda: bool(parity_mesh.status()["healthy"]), "health after explanations were down")


def test_both_models_take_the_same_inputs_and_the_trees_are_those_of_the_table() -> None:
    one, other = (yaml.safe_load((folder / "predmesh.yaml").read_text()) for folder in (MODEL, EXPLAINABLE))
    assert one["inputs"] == other["inputs"]
    assert json.loads((EXPLAINABLE / "model.json").read_text()) == explaining.document()


def test_the_page_names_each_known_exception_with_its_reason() -> None:
    page = (ROOT / "docs" / "parity.md").read_text()
    table = [line for line in page.splitlines() if line.startswith("| **")]
    assert table == [f"| **{each.name}** | {each.reason} |" for each in EXCEPTIONS]
