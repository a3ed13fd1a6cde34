"""How Triton is started, found and installed; nothing is started here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from predmesh_inference import install as installing
from predmesh_inference.install import InstallError, Stamp, check_disk, find_uv, install
from predmesh_inference.installation import find, own
from predmesh_inference.stubs import Stub, listener_pid, read_stub
from predmesh_inference.triton_errors import load_reason
from predmesh_inference.tritonserver import TritonSettings, command, environment, socket_address, words
from predmesh_rpc.addresses import socket_path

TRITON = own(Path("/tools/triton"))
SETTINGS = TritonSettings(repository=Path("/home/triton"), address="unix:/home/run/triton.sock:1", shm_prefix="mesh-7-")


def test_triton_listens_on_private_addresses_alone() -> None:
    line = command(TRITON, SETTINGS)
    assert {"--allow-http=false", "--grpc-address=unix:/home/run/triton.sock", "--grpc-port=1"} <= set(line)
    assert "--allow-metrics=false" in line


def test_metrics_are_served_where_an_address_is_given() -> None:
    settings = TritonSettings(repository=Path("/r"), address="127.0.0.1:8001", metrics_address="127.0.0.1:8002")
    line = command(TRITON, settings)
    assert {"--grpc-address=127.0.0.1", "--grpc-port=8001"} <= set(line)
    assert {"--metrics-address=127.0.0.1", "--metrics-port=8002"} <= set(line)


def test_its_shared_memory_carries_the_meshs_name() -> None:
    assert "--backend-config=python,shm-region-prefix-name=mesh-7-" in command(TRITON, SETTINGS)


def test_its_python_is_the_locked_one_and_nothing_of_the_callers_reaches_into_it() -> None:
    base = {"PATH": "/usr/bin", "PYTHONPATH": "/elsewhere", "VIRTUAL_ENV": "/venv", "LD_LIBRARY_PATH": "/cuda"}
    made = environment(TRITON, base, Path("/python/lib"))
    assert made == {"PATH": "/tools/triton/bin:/usr/bin", "LD_LIBRARY_PATH": "/python/lib:/cuda"}


def test_the_supervisors_command_says_all_that_the_parent_needs() -> None:
    line = words(SETTINGS)
    assert line[:3] == [sys.executable, "-m", "predmesh_inference.tritonserver"]
    assert line[line.index("--shm-prefix") + 1] == "mesh-7-"


def test_a_socket_address_is_one_that_grpc_clients_take() -> None:
    assert socket_path(socket_address(Path("/run/triton.sock"))) == Path("/run/triton.sock:1")


def test_a_machine_without_triton_is_told_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREDMESH_TOOLS", str(tmp_path))
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(FileNotFoundError, match=r"predmesh_inference\.install"):
        find()


@pytest.mark.parametrize(("version", "chosen"), [("2.60.0", "full"), ("2.50.0", "own")])
def test_a_newer_full_server_that_has_our_backend_is_preferred(
    version: str, chosen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, ours = tmp_path / "opt", own(tmp_path / "tools" / "triton")
    for path in (full / "bin/tritonserver", full / "backends/predmesh/model.py", ours.binary):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o755)
    (full / "backends/onnxruntime").mkdir()
    (full / "TRITON_VERSION").write_text(version + "\n")
    monkeypatch.setenv("PREDMESH_TOOLS", str(tmp_path / "tools"))
    monkeypatch.setenv("PATH", str(full / "bin"))
    found = find()
    assert found.binary == (full / "bin/tritonserver" if chosen == "full" else ours.binary)
    assert chosen == "own" or found.native == {"onnxruntime"}


def test_an_installation_that_is_whole_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREDMESH_TOOLS", str(tmp_path))
    environment_folder = tmp_path / "triton"
    binary = own(environment_folder).binary
    binary.parent.mkdir(parents=True)
    binary.touch()
    Stamp(installing._digest(), ("torch",)).write(environment_folder)
    said: list[str] = []
    assert install(["torch"], say=said.append).binary == binary
    assert said == []


def test_a_broken_stamp_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "predmesh.json").write_text("{")
    assert Stamp.read(tmp_path) is None


def test_a_failed_download_is_told_and_leaves_no_stamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\nexit 2\n")
    uv.chmod(0o755)
    monkeypatch.setenv("PREDMESH_TOOLS", str(tmp_path / "tools"))
    monkeypatch.setenv("UV", str(uv))
    with pytest.raises(InstallError, match="Run this again"):
        install(say=lambda _: None)
    assert Stamp.read(tmp_path / "tools" / "triton") is None


def test_a_machine_without_uv_is_told_where_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREDMESH_TOOLS", str(tmp_path))
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(InstallError, match="make setup"):
        find_uv()


def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setitem(installing.NEEDED_BYTES, "torch", usage.free + 1_000_000_000)
    with pytest.raises(InstallError, match="PREDMESH_TOOLS to a folder on a larger disk"):
        check_disk(tmp_path, ["torch"])


def test_the_parent_says_in_one_line_that_triton_is_missing(tmp_path: Path) -> None:
    settings = TritonSettings(repository=tmp_path / "models", address=socket_address(tmp_path / "t.sock"))
    surroundings = os.environ | {"PREDMESH_TOOLS": str(tmp_path), "PATH": "/nonexistent"}
    done = subprocess.run(words(settings), env=surroundings, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (
        1,
        "Triton is not installed: run `python -m predmesh_inference.install`",
    )


def test_a_stub_is_known_by_its_command_line() -> None:
    line = ["/b/python/triton_python_backend_stub", "/home/triton/wine-1-0/1/model.py", "mesh-7-ab", "1048576"]
    assert read_stub(12, line) == Stub(12, Path("/home/triton/wine-1-0"), "mesh-7-ab")
    assert read_stub(12, ["/usr/bin/python3", "-m", "http.server"]) is None


def test_nobody_listens_where_there_is_no_socket(tmp_path: Path) -> None:
    assert listener_pid(f"unix:{tmp_path}/none:1") is None
    assert listener_pid("127.0.0.1:1") is None


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ("version 1 is at UNAVAILABLE state: Internal: TritonModelException: no y\n\nAt:\n  model.py(1)", "no y"),
        ("failed to poll from model repository", "failed to poll from model repository"),
        ("", "Triton gives no reason; see its log"),
    ],
)
def test_the_reason_of_a_failed_load_is_our_backends_own_where_it_spoke(details: str, reason: str) -> None:
    assert load_reason(details) == reason
