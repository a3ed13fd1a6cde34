"""The module writes what Envoy takes, from the environment alone, and names what is wrong."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import yaml


def write(out: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "predmesh_gateway", "--out", str(out)]
    return subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)


def test_the_file_is_written_and_the_command_is_said(tmp_path: Path):
    out = tmp_path / "etc" / "envoy.yaml"
    done = write(out, GATEWAY_PREDICTION_ADDRESSES="unix:/a.sock, unix:/b.sock", GATEWAY_CONCURRENCY="2")
    assert done.returncode == 0, done.stderr
    assert str(out) in shlex.split(done.stdout)
    for cluster in yaml.safe_load(out.read_text())["static_resources"]["clusters"]:
        assert len(cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]) == 2


def test_a_bad_variable_is_named(tmp_path: Path):
    done = write(tmp_path / "envoy.yaml", GATEWAY_ADDRESS="nowhere")
    assert done.returncode == 1
    assert "GATEWAY_ADDRESS" in done.stderr
    assert not (tmp_path / "envoy.yaml").exists()
