"""What stands in the way of a start is named before anything is started."""

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from predmesh_cli.errors import CliError
from predmesh_cli.home import Home
from predmesh_cli.obstacles import check_disk, check_port
from predmesh_cli.ports import holder, is_free
from predmesh_rpc.addresses import free_ports

PREDMESH = Path(sys.executable).parent / "predmesh"


def test_a_free_port_is_no_trouble() -> None:
    [port] = free_ports(1)
    check_port(port)


def test_a_port_in_use_is_named_with_its_holder_and_the_way_out() -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        with pytest.raises(CliError) as raised:
            check_port(port)
        found = holder(port)
    assert found is not None
    assert found.pid == os.getpid()
    assert str(port) in raised.value.message
    assert f"pid {os.getpid()}" in raised.value.message
    assert "--port" in raised.value.hint


def test_a_port_that_is_shared_counts_as_taken() -> None:
    with contextlib.closing(socket.socket()) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        assert not is_free(server.getsockname()[1])


def test_chosen_ports_differ() -> None:
    assert len(set(free_ports(20))) == 20


def test_a_full_disk_is_named_before_anything_starts(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    check_disk(home)
    with pytest.raises(CliError) as raised:
        check_disk(home, least_free_bytes=2**62)
    assert str(tmp_path) in raised.value.message
    assert "--home" in raised.value.hint


@pytest.mark.parametrize(
    ("folder", "said"),
    [("/proc/predmesh", "/proc/predmesh"), ("a #home", "line break")],
    ids=["cannot be written", "cannot be configured"],
)
def test_a_home_that_cannot_be_one_is_refused_plainly(tmp_path: Path, folder: str, said: str) -> None:
    done = subprocess.run(
        [PREDMESH, "up", "--home", str(tmp_path / folder), "--port", "0"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert "next:" in done.stderr
    assert "Traceback" not in done.stderr
