"""How the Envoy program is called and what it says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from predmesh_gateway import admin
from predmesh_gateway.envoy import argv, binary, complaint
from predmesh_gateway.settings import Settings


def test_the_program_comes_with_the_wheel():
    assert os.access(binary(), os.X_OK)


def test_two_gateways_share_no_memory():
    assert "--disable-hot-restart" in argv(Settings(), Path("envoy.yaml"))


def test_the_threads_are_those_of_the_settings():
    words = argv(Settings(concurrency=3), Path("envoy.yaml"))
    assert words[words.index("--concurrency") + 1] == "3"


def test_a_complaint_is_stripped_of_time_and_file():
    line = "[2026-11-21 01:00:00.000][12][critical][main] [source/server/server.cc:440] error in '/x/y.yaml': bad"
    assert complaint(f"{line}\n{line}\n", "/x/y.yaml") == "error in 'the configuration': bad"


def test_silence_is_named():
    assert "no reason" in complaint("", "x")


def test_an_absent_gateway_is_not_ready(tmp_path: Path):
    assert not admin.ready(f"unix:{tmp_path / 'none.sock'}")


def test_an_absent_gateway_says_where_it_was_looked_for(tmp_path: Path):
    with pytest.raises(admin.AdminDown, match=r"none\.sock"):
        admin.listening_on(f"unix:{tmp_path / 'none.sock'}")
