"""From a bundle's folder to its contract and the files that say it; keeps the lock beside the bundle."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from predmesh_bundle.compiling import Checked, check_bundle, write_compiled
from predmesh_bundle.contract_names import DESCRIPTORS, OPENAPI, REFERENCE, SCHEMA, TEXT
from predmesh_bundle.durable import write_atomically
from predmesh_bundle.problems import BundleError, Problem
from predmesh_bundle.schema import Bundle
from predmesh_bundle.store import DOCUMENTS

from predmesh_compiler.contracts import Contract, contract
from predmesh_compiler.json_schema import schema_document
from predmesh_compiler.lock import LOCK_FILE, read_lock
from predmesh_compiler.numbering import Clash
from predmesh_compiler.openapi import openapi_document
from predmesh_compiler.proto_text import proto_text
from predmesh_compiler.reference_page import reference_page


def _nothing(compiled: Contract) -> None:
    """Any contract will do."""


def check_typed(folder: Path) -> tuple[Checked, Contract]:
    """The bundle in *folder*, checked as a deploy does, and its contract.

    Raises:
        BundleError: something is wrong with it, or with its lock; tells everything that is.
    """
    checked = check_bundle(folder)
    try:
        return checked, contract(checked.bundle, read_lock(folder))
    except Clash as clash:
        raise BundleError(checked.document.problem(path, message) for path, message in clash.problems) from clash


def compile_typed(folder: Path, into: Path, *, check: Callable[[Contract], None] = _nothing) -> Bundle:
    """Check the bundle in *folder*, keep its lock and write its compiled form, contract included, to *into*.

    Args:
        folder: the bundle; its lock is written where it lacks numbers.
        into: a folder that must not exist.
        check: raises where the contract will not do; nothing is written then.

    Raises:
        BundleError: something is wrong with it; tells everything that is.
    """
    checked, compiled = check_typed(folder)
    check(compiled)
    keep_lock(folder, compiled)
    write_compiled(folder, replace(checked, bundle=compiled.bundle), into)
    (into / DOCUMENTS).mkdir()
    for name, content in contract_files(compiled).items():
        # The hash that names a bundle is over the descriptors; what tells people of them may change with a release.
        (into / ("compiled" if name == DESCRIPTORS else DOCUMENTS) / name).write_bytes(content)
    return compiled.bundle


def contract_files(compiled: Contract) -> Mapping[str, bytes]:
    """What says a contract, by file name; the same contract gives the same bytes."""
    return {
        DESCRIPTORS: compiled.files.SerializeToString(deterministic=True),
        TEXT: proto_text(compiled.file).encode(),
        OPENAPI: _json(openapi_document(compiled)),
        SCHEMA: _json(schema_document(compiled)),
        REFERENCE: reference_page(compiled).encode(),
    }


def lock_is_kept(folder: Path, compiled: Contract) -> bool:
    """Whether the lock beside the bundle says all that it must."""
    return read_lock(folder) == compiled.lock


def keep_lock(folder: Path, compiled: Contract) -> bool:
    """Write the lock beside the bundle in *folder*, where it does not say all already; whether it was written.

    Raises:
        BundleError: it cannot be written.
    """
    if lock_is_kept(folder, compiled):
        return False
    try:
        write_atomically(folder / LOCK_FILE, compiled.lock.to_yaml())
    except OSError as error:
        message = f"the file cannot be written ({error.strerror}): compile the bundle where it can, and commit the file"
        raise BundleError([Problem(LOCK_FILE, None, message)]) from error
    return True


def _json(document: Any) -> bytes:
    return (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode()
