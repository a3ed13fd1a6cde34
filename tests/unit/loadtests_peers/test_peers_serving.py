import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from loadtests.peers.catalogue import INSTANCES, Peer, Setting
from loadtests.peers.serving import Serving, marked, serving

# Leaves the process group and ignores SIGTERM, as the worst of daemons.
DAEMON = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.setsid()
print("there", flush=True)
time.sleep(60)
"""
SERVER = f"""
import subprocess, sys, time
daemon = subprocess.Popen([sys.executable, "-c", {DAEMON!r}], stdout=subprocess.PIPE)
daemon.stdout.readline()
print("ready", flush=True)
time.sleep(60)
"""
SECONDS = 20


@pytest.fixture
def peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Peer:
    monkeypatch.setattr("loadtests.peers.serving.GRACE_SECONDS", 0.5)
    return Peer(
        name="made-up",
        title="Made up",
        package="nothing",
        dialect=INSTANCES,
        command=(sys.executable, "-c", SERVER),
        variables={"PORT_OF_IT": "{port}"},
        settings=(Setting("only", {"WORKERS": "3"}),),
    )


def wait_until_ready(server: Serving) -> None:
    end = time.monotonic() + SECONDS
    while "ready" not in server.log.read_text():
        assert time.monotonic() < end, server.log.read_text()
        time.sleep(0.01)


def test_leaving_ends_also_what_left_the_group_and_ignores_the_signal(peer: Peer, tmp_path: Path):
    with serving(peer, peer.settings[0], tmp_path / "scratch", {}) as server:
        wait_until_ready(server)
        assert len(server.pids()) == 2
    assert not marked(server.mark)


def test_a_server_gets_its_setting_a_free_port_and_none_of_our_environment(
    peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PREDMESH_SECRET", "x")
    with serving(peer, peer.settings[0], tmp_path / "scratch", {"WHERE": "here"}) as server:
        wait_until_ready(server)
        variables = psutil.Process(server.process.pid).environ()
    port = server.address.rpartition(":")[2]
    assert (variables["WORKERS"], variables["WHERE"], variables["PORT_OF_IT"]) == ("3", "here", port)
    assert "PREDMESH_SECRET" not in variables


def test_a_server_that_ends_is_told_by_the_end_of_its_log(peer: Peer, tmp_path: Path):
    broken = replace(peer, command=(sys.executable, "-c", "raise SystemExit('no such model')"))
    with serving(broken, broken.settings[0], tmp_path / "scratch", {}) as server:
        server.process.wait(SECONDS)
        assert "no such model" in server.failure()
