"""The parity suite against a real mesh: one table of requests, the same answers over every protocol."""

import re
import subprocess
import sys

from predmesh_testing.running import ROOT, RunningMesh

from tests.parity.exceptions import EXCEPTIONS


def test_every_protocol_gives_the_same_answers(parity_mesh: RunningMesh) -> None:
    command = [sys.executable, "-m", "tests.parity", "--url", f"http://{parity_mesh.address}"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = re.search(r"^(\d+) cases, (\d+) requests, 0 differences$", ran.stdout, re.MULTILINE)
    assert found, ran.stdout
    assert int(found[1]) >= 300
    assert int(found[2]) >= 5000


def test_the_page_names_each_known_exception_with_its_reason() -> None:
    page = (ROOT / "docs" / "parity.md").read_text()
    table = [line for line in page.splitlines() if line.startswith("| **")]
    assert table == [f"| **{each.name}** | {each.reason} |" for each in EXCEPTIONS]
