"""Generated requests against a real mesh: whatever is asked, the answer is the caller's or right."""

import subprocess
import sys

from predmesh_testing.running import ROOT, RunningMesh

from tests.fuzz.__main__ import GROUPS


def test_no_request_is_ours_to_answer_for(parity_mesh: RunningMesh) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--url", f"http://{parity_mesh.address}", "--requests", "500"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count(": 500 answers, 0 faults") == len(GROUPS)
