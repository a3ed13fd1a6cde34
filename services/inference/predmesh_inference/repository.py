"""Triton's model repository, a folder that this service owns: one folder a model, with all that it reads."""

from __future__ import annotations

import shutil
from importlib.resources import files
from pathlib import Path

from predmesh_bundle.durable import discard
from predmesh_bundle.model_parts import model_files

from predmesh_inference.domain import Model
from predmesh_inference.triton_config import canary_config, model_config

CANARY = "predmesh-canary"
"""Name of the identity model; no bundle id has this form."""


class Repository:
    """The folder, and what is in it."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def folder(self, name: str) -> Path:
        """The folder of a model."""
        return self.root / name

    def write(self, model: Model, backend: str) -> None:
        """Put *model* in; files that are right already stay, because Triton reloads a model whose files are newer."""
        version = self.folder(model.name) / "1"
        version.mkdir(parents=True, exist_ok=True)
        if not (version / "bundle").exists():
            _link(model, version / "bundle")
        _write(version / "inference.json", model.inference.model_dump_json())
        _write(self.folder(model.name) / "config.pbtxt", model_config(model, backend))

    def write_canary(self) -> None:
        """Put the identity model in."""
        version = self.folder(CANARY) / "1"
        version.mkdir(parents=True, exist_ok=True)
        _write(version / "model.py", files("predmesh_inference").joinpath("canary/model.py").read_text())
        _write(self.folder(CANARY) / "config.pbtxt", canary_config(CANARY))

    def remove(self, name: str) -> None:
        """Take a model out; one that is not there is no error."""
        shutil.rmtree(self.folder(name), ignore_errors=True)

    def names(self) -> list[str]:
        """The models in it, the canary left out."""
        found = self.root.iterdir() if self.root.is_dir() else ()
        return sorted(path.name for path in found if path.is_dir() and path.name != CANARY)


def _link(model: Model, target: Path) -> None:
    """Put what *model* reads of its bundle into *target*, a new folder, so that the model may outlive the bundle."""
    draft = target.with_name(f".{target.name}")
    discard(draft)
    for path in model_files(model.inference, model.folder):
        linked = draft / path.relative_to(model.folder)
        linked.parent.mkdir(parents=True, exist_ok=True)
        _share(path, linked)
    draft.rename(target)


def _share(path: Path, target: Path) -> None:
    try:
        target.hardlink_to(path)
    except OSError:  # on another file system, say
        shutil.copyfile(path, target)


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
