"""How a stored bundle is to run on this machine."""

from __future__ import annotations

from collections.abc import Collection

from predmesh_bundle.store import StoredBundle

from predmesh_inference.devices import choose_backend, choose_device
from predmesh_inference.domain import Model
from predmesh_inference.probes import probes


def plan(stored: StoredBundle, *, native: Collection[str], gpus: int) -> Model:
    """The model of *stored*, on the device that it asks for.

    Raises:
        LoadFailed: it asks for a GPU that is not to be had.
    """
    inference = stored.bundle.inference
    device = choose_device(inference, choose_backend(inference, native), gpus)
    asked, exact = probes(stored.bundle)
    return Model(stored.model_id, stored.bundle_id, stored.folder, inference, device, asked, exact)
