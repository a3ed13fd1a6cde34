"""Where Triton is on this machine: the one that `install` made, or a newer full server; starts nothing."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

REPOSITORY_ROOT = Path(__file__).resolve().parents[3]
PROJECT = REPOSITORY_ROOT / "services" / "inference" / "triton"
"""Triton's own uv project: its environment is locked apart from the workspace."""

OWN_VERSION = "2.51.0"
LIBPYTHON = "libpython3.11.so.1.0"


@dataclass(frozen=True)
class Installation:
    """One Triton server and the Python that its models run in."""

    binary: Path
    """The ``tritonserver`` program."""
    backends: Path
    """Folder of its backends, one folder each."""
    caches: Path
    """Folder of its response caches."""
    version: str
    """Its version, e.g. ``2.51.0``."""
    python: Path | None = None
    """The environment whose ``python3`` its stubs run; None for the one that is first on PATH."""

    @property
    def native(self) -> frozenset[str]:
        """Backends that run models without Python."""
        return frozenset(path.name for path in self.backends.iterdir() if path.is_dir()) - {"python", "predmesh"}


def tools_folder() -> Path:
    """Where tools are installed: ``PREDMESH_TOOLS``, else ``.tools`` in the repository."""
    return Path(os.environ.get("PREDMESH_TOOLS") or REPOSITORY_ROOT / ".tools").absolute()


def environment_folder() -> Path:
    """The Python environment that carries Triton."""
    return tools_folder() / "triton"


def own(environment: Path) -> Installation:
    """The Triton of the wheel in *environment*, installed or not."""
    server = environment / "lib" / "python3.11" / "site-packages" / "pytriton" / "tritonserver"
    return Installation(
        server / "bin" / "tritonserver", server / "backends", server / "caches", OWN_VERSION, python=environment
    )


def full_server() -> Installation | None:
    """A full Triton on PATH, where our backend was put into it; None where there is none."""
    found = shutil.which("tritonserver")
    if found is None:
        return None
    root = Path(found).resolve().parents[1]
    version_file = root / "TRITON_VERSION"
    if not version_file.exists() or not (root / "backends" / "predmesh" / "model.py").exists():
        return None
    return Installation(
        root / "bin" / "tritonserver", root / "backends", root / "caches", version_file.read_text().strip()
    )


def find() -> Installation:
    """The newest Triton that can serve bundles here.

    Raises:
        FileNotFoundError: there is none; the message says how to install one.
    """
    ours = own(environment_folder())
    candidates = [each for each in (full_server(), ours if ours.binary.exists() else None) if each is not None]
    if not candidates:
        raise FileNotFoundError("Triton is not installed: run `python -m predmesh_inference.install`")
    return max(candidates, key=lambda each: numbers(each.version))


def numbers(version: str) -> tuple[int, ...]:
    """A version's numbers, to compare."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())
