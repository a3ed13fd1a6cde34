"""The store of bundles and generations, a folder: what is in it and how it changes; not who may change it when."""

import json
import os
import shutil
import socket
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from predmesh_bundle.clock import Clock, ClockError, clock_from_json, clock_to_json
from predmesh_bundle.content import content_hash
from predmesh_bundle.durable import sync_file, sync_folder, write_atomically
from predmesh_bundle.generation import EMPTY, Generation
from predmesh_bundle.schema import Bundle, bundle_name

if TYPE_CHECKING:
    from predmesh_bundle.read_plan import ReadPlan

HEARTBEAT_SECONDS = 1.0
"""How often a member says that it lives."""
STALE_SECONDS = 5.0
"""Silence after which a member whose process cannot be seen counts as dead."""
LOST_SECONDS = 60.0
"""Silence after which a member counts as dead even though its process is there."""
STAMP = ".stored.json"
"""File in a stored bundle that says when it was stored; no part of its content."""


class StoreError(Exception):
    """The store does not hold what was asked for, or is damaged."""


@dataclass(frozen=True)
class StoredBundle:
    """A bundle as it lies in the store, never changed."""

    bundle_id: str
    """Name, version and hash of the content."""
    folder: Path
    """Where its files are."""
    bundle: Bundle
    """What it says."""
    stored_time: datetime
    """When it was stored, in UTC."""

    def read_plan(self) -> "ReadPlan | None":
        """How its features are read; None where it has none."""
        path = self.folder / "compiled" / "read_plan.json"
        if not path.exists():
            return None
        from predmesh_bundle.read_plan import ReadPlan

        return ReadPlan.from_json(path.read_text())


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


class Store:
    """Bundles, generations, who follows them, and the mesh's clock."""

    def __init__(self, root: Path) -> None:
        """Use the folder *root*, which is made when something is first put into it."""
        self.root = root
        self._bundles: dict[str, StoredBundle] = {}

    # Generations

    def current(self) -> Generation:
        """The live generation; an empty one, number 0, where nothing was ever deployed."""
        number = self._number("current")
        return EMPTY if number is None else self.generation(number)

    def proposed(self) -> Generation | None:
        """The generation to prepare; None where there is none, or it is already live."""
        number = self._number("proposed")
        return None if number is None or number <= (self._number("current") or 0) else self.generation(number)

    def generation(self, number: int) -> Generation:
        """The generation of that number; StoreError where there is none."""
        path = self._generation_path(number)
        try:
            return Generation.model_validate_json(path.read_bytes())
        except FileNotFoundError as error:
            raise StoreError(f"generation {number} is named but {path} is missing: deploy anew") from error
        except ValueError as error:
            raise StoreError(f"{path} is damaged: deploy anew") from error

    def generations(self) -> list[int]:
        """Numbers of all generations that were ever written, smallest first."""
        return sorted(int(path.stem) for path in (self.root / "generations").glob("[0-9]*.json"))

    def next_number(self) -> int:
        """A number that no generation ever had."""
        named = (self._number("current") or 0, self._number("proposed") or 0)
        return max(*named, *self.generations(), 0) + 1

    def write_generation(self, generation: Generation) -> None:
        """Keep *generation* for ever; StoreError where its number is taken."""
        path = self._generation_path(generation.number)
        if path.exists():
            raise StoreError(f"generation {generation.number} is already written")
        write_atomically(path, generation.model_dump_json(indent=2) + "\n")

    def propose(self, number: int) -> None:
        """Ask every member to prepare a generation."""
        write_atomically(self.root / "proposed", f"{number}\n")

    def withdraw(self) -> None:
        """Ask every member to forget the proposed generation."""
        (self.root / "proposed").unlink(missing_ok=True)

    def flip(self, number: int) -> None:
        """Make a generation the live one."""
        write_atomically(self.root / "current", f"{number}\n")

    def signature(self) -> tuple[tuple[int, int, int] | None, ...]:
        """Something cheap that differs whenever `proposed`, `current` or the clock has changed."""
        return tuple(_signature(self.root / name) for name in ("proposed", "current", "clock.json"))

    # Bundles

    def bundle(self, bundle_id: str) -> StoredBundle:
        """A stored bundle; StoreError where there is none."""
        if bundle_id not in self._bundles:
            self._bundles[bundle_id] = self._read_bundle(bundle_id)
        return self._bundles[bundle_id]

    def bundle_ids(self) -> list[str]:
        """Ids of all stored bundles, in order."""
        return sorted(path.name for path in self._bundle_folder("").glob("[a-z]*") if path.is_dir())

    def put(self, compiled: Path) -> StoredBundle:
        """Store a compiled bundle for ever, and answer it; the same content again changes nothing.

        Args:
            compiled: folder that `compile_bundle` wrote; it is copied.
        """
        bundle_id = identify(compiled)
        target = self._bundle_folder(bundle_id)
        if not target.exists():
            self._copy(compiled, target)
        return self.bundle(bundle_id)

    def verify(self, bundle_id: str) -> None:
        """Check a stored bundle against the hash in its name; StoreError where they differ."""
        folder = self._bundle_folder(bundle_id)
        if not folder.is_dir():
            raise StoreError(f"bundle {bundle_id} is not in the store {self.root}")
        if not bundle_id.endswith(content_hash(folder)[:12]):
            raise StoreError(f"bundle {bundle_id} was changed in the store: undeploy it, prune, and deploy it anew")

    def prune(self, keep: int = 3) -> list[str]:
        """Remove the bundles that neither the live, the proposed nor the last *keep* generations use; answer their ids.

        The caller holds the deployers' lock.
        """
        numbers = [number for number in self.generations() if number <= self.current().number]
        kept = [self.current(), self.proposed() or EMPTY, *map(self.generation, numbers[-keep:] if keep else [])]
        used = {bundle_id for generation in kept for bundle_id in generation.bundle_ids}
        unused = [bundle_id for bundle_id in self.bundle_ids() if bundle_id not in used]
        for bundle_id in unused:
            self._remove(bundle_id)
        self._forget_acknowledgements(before=self.current().number)
        return unused

    # Members

    def acknowledge(self, number: int, instance: str, service: str, error: str | None = None) -> None:
        """Say that an instance has prepared a generation, or why it cannot."""
        document = {"ok": error is None, "service": service} | ({} if error is None else {"error": error})
        write_atomically(self._acknowledgements(number) / f"{instance}.json", json.dumps(document))

    def acknowledgements(self, number: int) -> dict[str, Acknowledgement]:
        """What the instances say of a generation, by instance."""
        documents = _documents(self._acknowledgements(number))
        return {
            instance: Acknowledgement(
                instance, str(each.get("service", "")), each.get("ok") is True, str(each.get("error", ""))
            )
            for instance, each in documents
        }

    def announce(self, member: Member) -> None:
        """Say that a member lives."""
        document = {
            "service": member.service,
            "pid": member.pid,
            "heartbeat": member.heartbeat,
            "host": member.host,
            "generation": member.generation,
        }
        write_atomically(self._member_path(member.instance), json.dumps(document), durable=False)

    def leave(self, instance: str) -> None:
        """Say that a member is gone."""
        self._member_path(instance).unlink(missing_ok=True)

    def members(self) -> list[Member]:
        """All members that ever announced themselves and have not left, live or not, by instance."""
        return sorted(_members(_documents(self.root / "members")), key=lambda each: each.instance)

    def forget(self, instances: Iterable[str]) -> None:
        """Remove the files of members that died without leaving."""
        for instance in instances:
            self.leave(instance)

    # Clock

    def clock(self) -> Clock:
        """The mesh's clock, the system's where none was set; StoreError where the file is damaged."""
        try:
            return clock_from_json((self.root / "clock.json").read_bytes())
        except FileNotFoundError:
            return Clock()
        except ClockError as error:
            raise StoreError(str(error)) from error

    def set_clock(self, clock: Clock) -> None:
        """Set the mesh's clock."""
        write_atomically(self.root / "clock.json", clock_to_json(clock) + "\n")

    # Where things are

    def _bundle_folder(self, bundle_id: str) -> Path:
        return self.root / "bundles" / bundle_id

    def _generation_path(self, number: int) -> Path:
        return self.root / "generations" / f"{number:06d}.json"

    def _acknowledgements(self, number: int) -> Path:
        return self.root / "acks" / f"{number:06d}"

    def _member_path(self, instance: str) -> Path:
        return self.root / "members" / f"{instance}.json"

    def _number(self, name: str) -> int | None:
        try:
            return int((self.root / name).read_text())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise StoreError(f"{self.root / name} holds no number: deploy anew") from error

    def _read_bundle(self, bundle_id: str) -> StoredBundle:
        folder = self._bundle_folder(bundle_id)
        try:
            bundle_name(bundle_id)
            bundle = _compiled_bundle(folder)
            stored_time = datetime.fromisoformat(json.loads((folder / STAMP).read_bytes())["stored"])
        except FileNotFoundError as error:
            raise StoreError(f"bundle {bundle_id} is not in the store {self.root}: deploy it") from error
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"bundle {bundle_id} is damaged: undeploy it, prune, and deploy it anew") from error
        return StoredBundle(bundle_id, folder, bundle, stored_time)

    def _copy(self, source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.parent / f".{target.name}.{os.getpid()}"
        _discard(draft)
        try:
            shutil.copytree(source, draft)
            (draft / STAMP).write_text(json.dumps({"stored": datetime.now(UTC).isoformat()}))
            _seal(draft)
            draft.rename(target)
        finally:
            _discard(draft)
        sync_folder(target.parent)

    def _remove(self, bundle_id: str) -> None:
        # Renamed first, so that no reader finds half a bundle.
        folder = self._bundle_folder(bundle_id)
        grave = folder.parent / f".{bundle_id}.removed"
        _discard(grave)
        folder.rename(grave)
        _discard(grave)
        self._bundles.pop(bundle_id, None)

    def _forget_acknowledgements(self, before: int) -> None:
        for folder in (self.root / "acks").glob("[0-9]*"):
            if int(folder.name) < before:
                shutil.rmtree(folder, ignore_errors=True)


def identify(compiled: Path) -> str:
    """The id of a compiled bundle: its name, its version and the start of its content's hash."""
    bundle = _compiled_bundle(compiled)
    return f"{bundle.name}-{bundle.version}-{content_hash(compiled)[:12]}"


def _compiled_bundle(folder: Path) -> Bundle:
    return Bundle.model_validate_json((folder / "compiled" / "bundle.json").read_bytes())


def _seal(folder: Path) -> None:
    """Make every file read-only and wait until the disk holds it all."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            sync_folder(path)
        else:
            path.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
            sync_file(path)
    sync_folder(folder)


def _discard(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _documents(folder: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    """The JSON objects in *folder* by file stem; one that vanishes or cannot be read is left out."""
    for path in sorted(folder.glob("[!.]*.json")):
        try:
            document = json.loads(path.read_bytes())
        except (FileNotFoundError, ValueError):
            continue
        if isinstance(document, dict):
            yield path.stem, document


def _members(documents: Iterable[tuple[str, Mapping[str, object]]]) -> Iterator[Member]:
    for instance, each in documents:
        match each:
            case {"service": str(service), "pid": int(pid), "heartbeat": int() | float() as heartbeat}:
                number = each.get("generation")
                host = str(each.get("host", ""))
                yield Member(instance, service, pid, float(heartbeat), host, number if isinstance(number, int) else 0)
