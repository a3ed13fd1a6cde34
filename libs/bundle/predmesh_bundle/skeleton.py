"""Writes the folder of a new bundle from a template; what it holds is the user's from then on."""

import enum
import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path


class Template(enum.StrEnum):
    """What a new bundle can begin as."""

    SKLEARN = "sklearn"
    """A scikit-learn pipeline, saved by skops."""
    ONNX = "onnx"
    """An ONNX graph."""
    TORCH = "torch"
    """A PyTorch program, saved by torch.export."""
    XGBOOST = "xgboost"
    """An XGBoost model that can be explained."""


_PLACE = "MODEL_NAME"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")


class SkeletonError(ValueError):
    """The folder cannot be written; the message says what to do instead."""


def write_skeleton(name: str, template: Template, parent: Path) -> Path:
    """Make the folder *name* in *parent*, a bundle that works once its `train.py` has run.

    Raises:
        SkeletonError: the name is none for a model, or the folder is there already.
    """
    if not _NAME.fullmatch(name):
        raise SkeletonError(
            f"{name!r} is no name for a model: write small letters, digits and hyphens, a letter first, as in my-model"
        )
    folder = parent / name
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise SkeletonError(f"{folder} is there already: choose another name, or remove it") from error
    for file in _files(template):
        (folder / file.name).write_text(file.read_text(encoding="utf-8").replace(_PLACE, name), encoding="utf-8")
    return folder


def _files(template: Template) -> list[Traversable]:
    root = files("predmesh_bundle") / "templates"
    return [root / "README.md", root / template.value / "predmesh.yaml", root / template.value / "train.py"]
