"""Makes Triton's environment: ``python -m predmesh_inference.install [--extra torch] [--extra tensorflow]``.

Quick where nothing has changed. Extras once asked for stay.
"""

from __future__ import annotations

import argparse
import ctypes.util
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from predmesh_inference.installation import LIBPYTHON, PROJECT, Installation, environment_folder, own, tools_folder

EXTRAS = ("torch", "tensorflow")
NEEDED_BYTES = {"": 700_000_000, "torch": 8_000_000_000, "tensorflow": 3_000_000_000}
"""Disk that the environment takes, and each extra on top of it; some room included."""


class InstallError(Exception):
    """Triton's environment cannot be made here; the text says what to do."""


@dataclass(frozen=True)
class Stamp:
    """What an environment was made of."""

    digest: str
    extras: tuple[str, ...]

    @classmethod
    def read(cls, environment: Path) -> Stamp | None:
        """The stamp in *environment*; None where none, or a broken one, was left."""
        try:
            data = json.loads((environment / "predmesh.json").read_text())
            return cls(data["digest"], tuple(data["extras"]))
        except (OSError, ValueError, KeyError):
            return None

    def write(self, environment: Path) -> None:
        """Leave the stamp in *environment*."""
        (environment / "predmesh.json").write_text(json.dumps({"digest": self.digest, "extras": self.extras}))


def install(extras: Collection[str] = (), *, say: Callable[[str], None] = print) -> Installation:
    """Triton's installation, made or completed where it must be.

    Raises:
        InstallError: uv, disk or libpython is missing, or a download failed.
    """
    environment = environment_folder()
    before = Stamp.read(environment)
    wanted = Stamp(_digest(), tuple(sorted({*extras, *(before.extras if before else ())})))
    if before != wanted or not own(environment).binary.exists():
        say(f"installing Triton into {environment}" + "".join(f", with {extra}" for extra in wanted.extras))
        try:
            _make(environment, wanted.extras)
            wanted.write(environment)
        except OSError as error:
            raise InstallError(f"Triton's environment cannot be written: {error}. Mend this and run it again") from None
    return own(environment)


def _make(environment: Path, extras: Collection[str]) -> None:
    check_disk(tools_folder(), extras)
    find_libpython()
    # A stamp that stays while the folder changes would call a half-made environment whole.
    (environment / "predmesh.json").unlink(missing_ok=True)
    _sync(environment, extras)
    _place_backends(own(environment))


def _sync(environment: Path, extras: Collection[str]) -> None:
    words = [find_uv(), "sync", "--frozen", "--quiet", "--project", str(PROJECT), "--python", sys.executable]
    chosen = [word for extra in extras for word in ("--extra", extra)]
    settings = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    settings["UV_PROJECT_ENVIRONMENT"] = str(environment)
    done = subprocess.run([*words, *chosen], env=settings, check=False)
    if done.returncode != 0:
        raise InstallError("uv could not install Triton's environment; its message stands above. Run this again")


def _place_backends(triton: Installation) -> None:
    stub = triton.backends.parent / "python_backend_stubs" / "3.11" / "triton_python_backend_stub"
    # The wheel's libraries are found relative to their place, so the stub must lie beside the python backend.
    _place(stub, triton.backends / "python" / stub.name)
    for path in (PROJECT / "backends").rglob("*.py"):
        _place(path, triton.backends / path.relative_to(PROJECT / "backends"))


def _place(source: Path, target: Path) -> None:
    """Copy in one step, because a running Triton may be using what is there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copy2(source, draft)
    draft.replace(target)


def _digest() -> str:
    digest = hashlib.sha256(sys.version.encode())
    files = [PROJECT / "pyproject.toml", PROJECT / "uv.lock", *sorted((PROJECT / "backends").rglob("*.py"))]
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def find_uv() -> str:
    """The uv program: ``$UV``, the repository's own, beside this Python, or on PATH.

    Raises:
        InstallError: there is none.
    """
    places = [os.environ.get("UV"), tools_folder() / "uv/bin/uv", Path(sys.executable).with_name("uv")]
    for place in places:
        if place and Path(place).exists():
            return str(place)
    found = shutil.which("uv")
    if found is None:
        raise InstallError("uv is not installed: run `make setup`, or set UV to its path")
    return found


def check_disk(folder: Path, extras: Collection[str]) -> None:
    """Refuse to begin where the disk is too small.

    Raises:
        InstallError: it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    needed, free = sum(NEEDED_BYTES[name] for name in ("", *extras)), shutil.disk_usage(folder).free
    if free < needed:
        raise InstallError(
            f"Triton's environment takes {needed / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB free: "
            "make room, or set PREDMESH_TOOLS to a folder on a larger disk"
        )


def find_libpython() -> Path | None:
    """Folder of the shared libpython that Triton's stub is linked to; None where the system's loader finds it.

    Raises:
        InstallError: this Python has none.
    """
    folder = Path(sysconfig.get_config_var("LIBDIR") or "/nonexistent")
    if (folder / LIBPYTHON).exists():
        return folder
    if ctypes.util.find_library("python3.11") == LIBPYTHON:
        return None
    raise InstallError(
        f"Triton needs {LIBPYTHON}, which this Python ({sys.base_prefix}) was built without: "
        "install the package libpython3.11, or use uv's Python (`uv python install 3.11`)"
    )


def main() -> None:
    """Install, or say in one line why not."""
    parser = argparse.ArgumentParser(prog="python -m predmesh_inference.install", description=__doc__)
    parser.add_argument("--extra", action="append", default=[], choices=EXTRAS, help="a framework of several GB")
    try:
        installed = install(parser.parse_args().extra)
    except InstallError as error:
        raise SystemExit(str(error)) from None
    print(f"Triton {installed.version} is ready in {installed.python}")


if __name__ == "__main__":
    main()
