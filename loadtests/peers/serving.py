"""Installs a peer, runs it for a while, and ends all that it started."""

from __future__ import annotations

import contextlib
import os
import resource
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
from predmesh_rpc.addresses import free_ports

from loadtests.peers.catalogue import Peer, Setting

ROOT = Path(__file__).resolve().parents[2]
UV = ROOT / ".tools" / "uv" / "bin" / "uv"
INSTALL_SECONDS = 900
GRACE_SECONDS = 10.0
MOST_DATA_BYTES = 4 << 30
"""Of each process of a peer."""

MARK = "PREDMESH_PEER_RUN"
"""Variable that everything a peer starts inherits, also what leaves its process group (Ray's daemons do)."""


@dataclass(frozen=True, slots=True)
class Serving:
    """A peer that runs."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path
    mark: str

    def pids(self) -> dict[int, str]:
        """All its processes, by pid."""
        return {process.pid: "peer" for process in marked(self.mark)}

    def failure(self) -> str:
        """The end of its log when it has ended, else nothing."""
        return "" if self.process.poll() is None else self.log.read_text()[-2000:]


def install(peer: Peer) -> str:
    """Installs what the peer's lock says; answers why it can't be, or nothing."""
    command = [str(UV), "sync", "--quiet", "--frozen", "--project", str(peer.folder), "--python", "python3.11"]
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stderr.strip().splitlines()[0] if done.returncode else ""


def version(peer: Peer) -> str:
    """The installed version of the peer's package."""
    code = f"import importlib.metadata; print(importlib.metadata.version({peer.package!r}))"
    python = peer.environment / "bin" / "python"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@contextlib.contextmanager
def serving(peer: Peer, setting: Setting, scratch: Path, variables: Mapping[str, str]) -> Iterator[Serving]:
    """Runs the peer in *scratch*, a new folder for all that it writes, with *variables* in its environment."""
    scratch.mkdir()
    (port, spare_port, other_port), mark = free_ports(3), secrets.token_hex(8)
    words = {
        "port": port,
        "spare_port": spare_port,
        "other_port": other_port,
        "folder": peer.folder,
        "scratch": scratch,
    }
    own = {name: value.format(**words) for name, value in {**peer.variables, **setting.variables}.items()}
    command = [word.format(**words) for word in peer.command]
    log = scratch / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=scratch,
            env=surroundings(peer, scratch) | dict(variables) | own | {MARK: mark},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        resource.prlimit(process.pid, resource.RLIMIT_DATA, (MOST_DATA_BYTES, MOST_DATA_BYTES))
        yield Serving(f"127.0.0.1:{port}", process, log, mark)
    finally:
        end(process, mark)


def surroundings(peer: Peer, scratch: Path) -> dict[str, str]:
    """The environment of a peer: nothing of ours but the repository to import from."""
    return {
        "PATH": f"{peer.environment / 'bin'}:{os.environ['PATH']}",
        "HOME": str(scratch),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONWARNINGS": "ignore",
        "FEAST_USAGE": "False",
        "PEER_SCRATCH": str(scratch),
    }


def marked(mark: str) -> list[psutil.Process]:
    """The processes that carry *mark* and still run."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark:
                found.append(process)
    return found


def end(process: subprocess.Popen[bytes], mark: str) -> None:
    """Ends what carries *mark*, and waits for it."""
    for what in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + GRACE_SECONDS
        if what is signal.SIGTERM and process.poll() is None:
            process.terminate()  # Its own way to end what it started.
        while (left := marked(mark)) and time.monotonic() < deadline:
            if what is signal.SIGKILL:
                for each in left:
                    with contextlib.suppress(psutil.Error):
                        each.kill()
            process.poll()
            psutil.wait_procs(left, timeout=0.2)
    process.wait(GRACE_SECONDS)
