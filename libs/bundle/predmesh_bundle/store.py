"""The store of bundles and generations, a folder: what is in it and how it changes; not who may change it when."""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from predmesh_bundle.clock import Clock, ClockError, clock_from_json, clock_to_json
from predmesh_bundle.content import content_hash
from predmesh_bundle.durable import discard, seal, sync_folder, write_atomically
from predmesh_bundle.generation import EMPTY, Generation
from predmesh_bundle.members import Acknowledgement, Member, read_acknowledgements, read_members
from predmesh_bundle.model_parts import model_id
from predmesh_bundle.schema import Bundle, bundle_name

if TYPE_CHECKING:
    from predmesh_bundle.read_plan import ReadPlan

STAMP = ".stored.json"
"""File in a stored bundle that says when it was stored, and what its model is called; no part of its content."""

DOCUMENTS = ".documents"
"""Folder in a compiled bundle with what tells people of its contract; no part of its content, and kept beside it."""

DRAIN_LIMIT = timedelta(minutes=1)
"""A generation that ended longer ago is used by nobody."""

_INSTANCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


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
    model_id: str
    """Name of its model on model servers, which bundles that agree in all that the model is made of share."""

    def contract_file(self, name: str) -> bytes | None:
        """A file of its typed contract, such as `contract.binpb`; None where it was stored without one.

        That one is a serialized google.protobuf.FileDescriptorSet: the contract, behind all that it imports. It is part
        of the bundle's content; the others only tell of it, and a later deploy of the same content may renew them.
        """
        for folder in (_documents(self.folder), self.folder / "compiled"):
            with contextlib.suppress(FileNotFoundError):
                return (folder / name).read_bytes()
        return None

    def read_plan(self) -> "ReadPlan | None":
        """How its features are read; None where it has none."""
        path = self.folder / "compiled" / "read_plan.json"
        if not path.exists():
            return None
        from predmesh_bundle.read_plan import ReadPlan

        return ReadPlan.from_json(path.read_text())


class Store:
    """Bundles, generations, who follows them, and the mesh's clock."""

    def __init__(self, root: Path) -> None:
        """Use the folder *root*, which is made when something is first put into it."""
        self.root = root
        self._watched = tuple(str(root / name) for name in ("proposed", "current", "clock.json"))
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
            raise StoreError(f"{path} is missing: {self._mending()}") from error
        except ValueError as error:
            raise StoreError(f"{path} is damaged: {self._mending()}") from error

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
        return tuple(map(_signature, self._watched))

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
        """Store a compiled bundle for ever, and answer it; the same content again renews its documents alone.

        Args:
            compiled: folder that `compile_bundle` wrote; it is copied.
        """
        bundle_id = identify(compiled)
        if not self._intact(bundle_id):
            self._remove(bundle_id)
            self._copy(compiled, bundle_id)
        self._document(compiled, bundle_id)
        return self.bundle(bundle_id)

    def verify(self, bundle_id: str) -> None:
        """Check a stored bundle against the hash in its name; StoreError where they differ."""
        if not self._bundle_folder(bundle_id).is_dir():
            raise StoreError(f"bundle {bundle_id} is not in the store {self.root}: deploy it")
        if not self._intact(bundle_id):
            raise StoreError(f"bundle {bundle_id} was changed in the store: deploy it anew")

    def prune(self, keep: int = 3) -> list[str]:
        """Remove the bundles that neither the live, the proposed, the last *keep* nor a draining generation uses.

        The caller holds the deployers' lock.

        Returns:
            Ids of the removed bundles.
        """
        live = self.current()
        kept = {each.number: each for each in (live, self.proposed() or EMPTY)}
        written = [number for number in self.generations() if number <= live.number]
        ended = datetime.now(UTC)
        for age, number in enumerate(reversed(written)):
            if age >= keep and datetime.now(UTC) - ended > DRAIN_LIMIT:
                break
            kept[number] = self.generation(number)
            ended = kept[number].created or datetime.min.replace(tzinfo=UTC)
        used = {bundle_id for generation in kept.values() for bundle_id in generation.bundle_ids}
        unused = [bundle_id for bundle_id in self.bundle_ids() if bundle_id not in used]
        for bundle_id in unused:
            self._remove(bundle_id)
        self._forget_acknowledgements(before=live.number)
        return unused

    def sweep(self) -> None:
        """Remove what a deployer that was killed left behind; the caller holds the deployers' lock."""
        self.withdraw()
        for folder in (*self.root.glob(".deploy-*"), *(self.root / "bundles").glob(".*")):
            discard(folder)

    def release(self, bundle_id: str) -> None:
        """Keep what was read of a bundle no longer in memory."""
        self._bundles.pop(bundle_id, None)

    # Members

    def acknowledge(self, number: int, answer: Acknowledgement) -> None:
        """Say that an instance has prepared a generation, or why it cannot.

        Does not wait for the disk, which would keep the instance from answering requests: what is lost is said again.
        """
        path = self._acknowledgements(number) / f"{answer.instance}.json"
        write_atomically(path, answer.to_json(), durable=False)

    def acknowledgements(self, number: int) -> dict[str, Acknowledgement]:
        """What the instances say of a generation, by instance."""
        return read_acknowledgements(self._acknowledgements(number))

    def announce(self, member: Member) -> None:
        """Say that a member lives."""
        write_atomically(self._member_path(member.instance), member.to_json(), durable=False)

    def leave(self, instance: str) -> None:
        """Say that a member is gone."""
        self._member_path(instance).unlink(missing_ok=True)

    def members(self) -> list[Member]:
        """All members that announced themselves and have not left, live or not, by instance."""
        return read_members(self.root / "members")

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
        if not _INSTANCE.fullmatch(instance):
            raise ValueError(f"{instance!r} is no instance name: write letters, digits, '.', '_' and '-'")
        return self.root / "members" / f"{instance}.json"

    def _number(self, name: str) -> int | None:
        try:
            return int((self.root / name).read_text())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise StoreError(f"{self.root / name} holds no number: {self._mending()}") from error

    def _mending(self) -> str:
        return f"write the number of a whole file in {self.root / 'generations'} into {self.root / 'current'}"

    def _read_bundle(self, bundle_id: str) -> StoredBundle:
        folder = self._bundle_folder(bundle_id)
        try:
            bundle_name(bundle_id)
            bundle = _compiled_bundle(folder)
            stamp = json.loads((folder / STAMP).read_bytes())
            stored_time = datetime.fromisoformat(stamp["stored"])
            # Bundles that were stored before models had names of their own keep to the bundle's.
            model = str(stamp.get("model", bundle_id))
        except FileNotFoundError as error:
            raise StoreError(f"bundle {bundle_id} is not in the store {self.root}: deploy it") from error
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"bundle {bundle_id} is damaged: deploy it anew") from error
        return StoredBundle(bundle_id, folder, bundle, stored_time, model)

    def _intact(self, bundle_id: str) -> bool:
        folder = self._bundle_folder(bundle_id)
        return (folder / STAMP).is_file() and bundle_id.endswith(content_hash(folder)[:12])

    def _copy(self, source: Path, bundle_id: str) -> None:
        target = self._bundle_folder(bundle_id)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.parent / f".{target.name}.{os.getpid()}"
        discard(draft)
        try:
            shutil.copytree(source, draft, ignore=shutil.ignore_patterns(DOCUMENTS))
            model = model_id(_compiled_bundle(draft), bundle_id, draft)
            (draft / STAMP).write_text(json.dumps({"stored": datetime.now(UTC).isoformat(), "model": model}))
            seal(draft)
            draft.rename(target)
        finally:
            discard(draft)
        sync_folder(target.parent)

    def _document(self, source: Path, bundle_id: str) -> None:
        documents = _documents(self._bundle_folder(bundle_id))
        for path in (source / DOCUMENTS).glob("*"):
            target, content = documents / path.name, path.read_bytes()
            if not target.exists() or target.read_bytes() != content:
                write_atomically(target, content)

    def _remove(self, bundle_id: str) -> None:
        # Renamed first, so that no reader finds half a bundle.
        self._bundles.pop(bundle_id, None)
        folder = self._bundle_folder(bundle_id)
        grave = folder.parent / f".{bundle_id}.removed"
        discard(grave)
        with contextlib.suppress(FileNotFoundError):
            folder.rename(grave)
        discard(grave)
        discard(_documents(folder))

    def _forget_acknowledgements(self, before: int) -> None:
        for folder in (self.root / "acks").glob("[0-9]*"):
            if int(folder.name) < before:
                shutil.rmtree(folder, ignore_errors=True)


def identify(compiled: Path) -> str:
    """The id of a compiled bundle: its name, its version and the start of its content's hash."""
    bundle = _compiled_bundle(compiled)
    return f"{bundle.name}-{bundle.version}-{content_hash(compiled)[:12]}"


def _documents(stored: Path) -> Path:
    """Where the documents of the bundle in the folder *stored* are."""
    return stored.parents[1] / "documents" / stored.name


def _compiled_bundle(folder: Path) -> Bundle:
    return Bundle.model_validate_json((folder / "compiled" / "bundle.json").read_bytes())


def _signature(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - ten times a second in every process
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
