"""Who follows the store, and what each says of a proposed generation; files in two folders, one an instance."""

import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

HEARTBEAT_SECONDS = 1.0
"""How often a member says that it lives."""
STALE_SECONDS = 5.0
"""Silence after which a member whose process cannot be seen counts as dead."""
LOST_SECONDS = 60.0
"""Silence after which a member counts as dead even though its process is there."""


@dataclass(frozen=True, slots=True)
class Member:
    """A running service instance that loads generations."""

    instance: str
    """Its name, unique in the mesh."""
    service: str
    """What it is an instance of."""
    pid: int
    """Its process."""
    heartbeat: float
    """When it last said that it lives, Unix time."""
    host: str = ""
    """Machine that its process runs on; empty where unknown."""
    generation: int = 0
    """Number of the generation that it routes."""

    def to_json(self) -> str:
        """What its file says; the file's name says which instance it is."""
        return json.dumps({key: getattr(self, key) for key in ("service", "pid", "heartbeat", "host", "generation")})

    def live(self, now: float) -> bool:
        """Whether it is alive at *now*: heard of lately, or still there with its event loop busy."""
        silence = now - self.heartbeat
        return silence <= STALE_SECONDS or (silence <= LOST_SECONDS and self._process_is_here())

    def _process_is_here(self) -> bool:
        return self.host == socket.gethostname() and Path(f"/proc/{self.pid}").exists()


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What one member says of a proposed generation."""

    instance: str
    """Who says it."""
    service: str
    """What it is an instance of; empty where unknown."""
    ok: bool
    """Whether it has loaded all that is new."""
    error: str = ""
    """Why not."""

    def to_json(self) -> str:
        """What its file says; the file's name says which instance it is."""
        return json.dumps({"ok": self.ok, "service": self.service} | ({} if self.ok else {"error": self.error}))


def read_members(folder: Path) -> list[Member]:
    """The members that announced themselves in *folder* and have not left, live or not, by instance."""
    return [member for instance, each in _documents(folder) if (member := _member(instance, each)) is not None]


def read_acknowledgements(folder: Path) -> dict[str, Acknowledgement]:
    """What the instances say in *folder*, by instance."""
    return {
        instance: Acknowledgement(
            instance, str(each.get("service", "")), each.get("ok") is True, str(each.get("error", ""))
        )
        for instance, each in _documents(folder)
    }


def _member(instance: str, document: Mapping[str, object]) -> Member | None:
    match document:
        case {"service": str(service), "pid": int(pid), "heartbeat": int() | float() as heartbeat}:
            number = document.get("generation")
            host = str(document.get("host", ""))
            return Member(instance, service, pid, float(heartbeat), host, number if isinstance(number, int) else 0)
    return None


def _documents(folder: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    """The JSON objects in *folder* by file stem; one that vanishes or cannot be read is left out."""
    for path in sorted(folder.glob("[!.]*.json")):
        try:
            document = json.loads(path.read_bytes())
        except (FileNotFoundError, ValueError):
            continue
        if isinstance(document, dict):
            yield path.stem, document
