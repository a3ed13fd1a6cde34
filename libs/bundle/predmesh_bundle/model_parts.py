"""What of a bundle its model is made of, and the name that follows: bundles that agree in it share the model."""

import hashlib
import mmap
from pathlib import Path

from predmesh_bundle.content import files_hash, stored_files
from predmesh_bundle.schema import Bundle, Inference

_WEIGHTS_BESIDE = b"\n\x08location"
"""How ONNX spells the key under which a graph names a file with weights."""


def model_id(bundle: Bundle, bundle_id: str, folder: Path) -> str:
    """Name of the bundle's model on model servers.

    It is the model's name and 16 digits of a hash over the `inference` section and the files that `model_files` names,
    so that a bundle with another contract alone has the model of the one before. A bundle whose model may read any of
    its files has a model of its own, called as it is. No bundle id has 16 digits.

    Args:
        bundle: what it says.
        bundle_id: its id.
        folder: its compiled form.
    """
    if not _stands_alone(bundle.inference, folder):
        return bundle_id
    digest = hashlib.sha256(bundle.inference.model_dump_json().encode())
    digest.update(files_hash(folder, _named(bundle.inference, folder)).encode())
    return f"{bundle.name}-{digest.hexdigest()[:16]}"


def model_files(inference: Inference, folder: Path) -> list[Path]:
    """The files of the compiled bundle in *folder* that its model may read, in order."""
    return _named(inference, folder) if _stands_alone(inference, folder) else stored_files(folder)


def _named(inference: Inference, folder: Path) -> list[Path]:
    named = folder / inference.file
    return stored_files(named) if named.is_dir() else [named]


def _stands_alone(inference: Inference, folder: Path) -> bool:
    """Whether the model reads nothing but what `file` names."""
    named = folder / inference.file
    match inference.framework:
        case "python":
            return False
        case "onnx":
            return not _contains(named, _WEIGHTS_BESIDE)
    return True


def _contains(path: Path, text: bytes) -> bool:
    if not path.stat().st_size:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(text) >= 0
