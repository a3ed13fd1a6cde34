"""Where an earlier contract of a bundle is found: in a folder, in git, in the store."""

from __future__ import annotations

import subprocess
from pathlib import Path

from predmesh_bundle.deploying import Compiler, DeployError
from predmesh_bundle.generation import UnknownModel
from predmesh_bundle.loading import FILE, parse_bundle
from predmesh_bundle.problems import BundleError, Problem
from predmesh_bundle.schema import Bundle
from predmesh_bundle.store import Store

from predmesh_compiler.breaks import breaks
from predmesh_compiler.compiling import compile_typed
from predmesh_compiler.contracts import Contract, contract
from predmesh_compiler.lock import LOCK_FILE, Lock, parse_lock, read_lock
from predmesh_compiler.numbering import Clash

_GIT_SECONDS = 30


class Broken(DeployError):
    """The contract would break clients of the live one."""


def from_folder(folder: Path) -> Contract:
    """The contract of the bundle in *folder*, whose model need not be there.

    Raises:
        BundleError: there is none.
    """
    try:
        text = (folder / FILE).read_bytes()
    except OSError as error:
        raise BundleError([Problem(FILE, None, f"the file cannot be read: {error.strerror}")]) from error
    return _contract(text, read_lock(folder))


def from_git(folder: Path, ref: str) -> Contract:
    """The contract of the bundle in *folder* as git has it at *ref*.

    Raises:
        BundleError: git has none there.
    """
    text = _shown(folder, ref, FILE)
    return _contract(text, parse_lock(_shown(folder, ref, LOCK_FILE)) if _is_there(folder, ref, LOCK_FILE) else Lock())


def from_store(store: Store, name: str, version: str) -> Contract | None:
    """The contract of a live version of a model; None where it is not live."""
    try:
        live = store.current().find(name, version)
    except UnknownModel:
        return None
    stored = store.bundle(live.bundle_id)
    return contract(stored.bundle, read_lock(stored.folder))


def typed_compiler(store: Store) -> Compiler:
    """What compiles for a deploy to *store*: `compile_typed`, where it breaks no client of the live version.

    It raises Broken where it would.
    """

    def compile(folder: Path, into: Path) -> Bundle:
        return compile_typed(folder, into, check=lambda new: _refuse_breaks(store, new))

    return compile


def _contract(text: bytes, lock: Lock) -> Contract:
    try:
        return contract(parse_bundle(text), lock)
    except Clash as clash:
        raise BundleError(Problem(FILE, None, message) for _, message in clash.problems) from clash


def _refuse_breaks(store: Store, new: Contract) -> None:
    name, version = new.bundle.name, new.bundle.version
    old = from_store(store, name, version)
    if old is not None and (found := breaks(old, new)):
        listed = "\n  ".join(map(str, found))
        raise Broken(
            f"this would break clients of {name} version {version}, which is live:\n  {listed}\n"
            "Raise `version` in predmesh.yaml: both versions then are served side by side"
        )


def _shown(folder: Path, ref: str, file: str) -> bytes:
    done = _git(folder, "show", f"{ref}:./{file}")
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().removeprefix("fatal: ")
        raise BundleError([Problem(file, None, f"git does not show it at {ref!r}: {said}")])
    return done.stdout


def _is_there(folder: Path, ref: str, file: str) -> bool:
    return _git(folder, "cat-file", "-e", f"{ref}:./{file}").returncode == 0


def _git(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["git", "-C", str(folder), *words], capture_output=True, timeout=_GIT_SECONDS)
    except FileNotFoundError as error:
        raise BundleError([Problem(FILE, None, "there is no git to ask for earlier bundles")]) from error
