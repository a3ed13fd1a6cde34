"""The running supervisor, asked over its unix socket."""

from __future__ import annotations

import contextlib
import http.client
import xmlrpc.client
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

from predmesh_cli.local_http import UnixConnection

ANSWER_SECONDS = 5.0
WAITING = ("BACKOFF", "EXITED", "FATAL", "STOPPED")


class SupervisorDown(Exception):
    """Nothing answers at the supervisor's socket."""


@dataclass(frozen=True, slots=True)
class Supervised:
    """What the supervisor says about one program."""

    name: str
    state: str
    """STARTING, RUNNING, BACKOFF, STOPPING, STOPPED, EXITED, FATAL or UNKNOWN."""
    pid: int
    """0 when there is no process."""
    detail: str
    """The supervisor's own words, e.g. why it waits."""
    group: str
    """The tier that it starts and ends with."""


class Supervisor:
    """A connection to the supervisor at one socket; opened anew for each question."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def pid(self) -> int:
        """The supervisor's own pid."""
        with self._asking() as rpc:
            return _whole(rpc.getPID())

    def answers(self) -> bool:
        """Whether it runs and is not about to end."""
        try:
            with self._asking() as rpc:
                return str(_fields(rpc.getState())["statename"]) == "RUNNING"
        except SupervisorDown:
            return False

    def programs(self) -> dict[str, Supervised]:
        """Every program by name."""
        with self._asking() as rpc:
            answer = rpc.getAllProcessInfo()
        assert isinstance(answer, list)
        return {program.name: program for program in map(_supervised, answer)}

    def waiting(self) -> list[str]:
        """Programs that do not run now, and wait for their next try."""
        return [each.name for each in self.programs().values() if each.state in WAITING]

    def start_waiting(self) -> None:
        """Start now what waits for its next try."""
        for each in self.programs().values():
            if each.state in WAITING:
                with self._asking() as rpc, contextlib.suppress(xmlrpc.client.Fault):
                    rpc.startProcess(f"{each.group}:{each.name}", False)

    def shut_down(self) -> None:
        """Ask it to end every program and itself."""
        with self._asking() as rpc:
            rpc.shutdown()

    @contextlib.contextmanager
    def _asking(self) -> Iterator[Any]:
        try:
            with xmlrpc.client.ServerProxy("http://supervisor", transport=_UnixTransport(self._path)) as proxy:
                yield proxy.supervisor
        except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError, ExpatError) as error:
            raise SupervisorDown(f"the supervisor does not answer at {self._path}: {error}") from error


def _supervised(answer: Any) -> Supervised:
    info = _fields(answer)
    return Supervised(
        name=str(info["name"]),
        state=str(info["statename"]),
        pid=_whole(info["pid"]),
        detail=str(info["spawnerr"] or info["description"]),
        group=str(info["group"]),
    )


def _fields(answer: Any) -> dict[str, Any]:
    assert isinstance(answer, dict)
    return answer


def _whole(answer: Any) -> int:
    assert isinstance(answer, int)
    return answer


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = UnixConnection(self._path, timeout_seconds=ANSWER_SECONDS)
        self._connection = host, connection  # what `close` closes
        return connection
