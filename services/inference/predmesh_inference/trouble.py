"""The inference service's errors, in the words of the contract."""

from __future__ import annotations

from typing import Final

from predmesh_rpc.errors import DependencyDown, FailedPrecondition, InvalidInput, NotFound, PredmeshError

from predmesh_inference.domain import Fault, InferenceFailed, ServerUnsound

STAGE: Final = "inference"


def unknown_bundle(bundle_id: str) -> NotFound:
    """The bundle is not loaded here, or not in the store."""
    return NotFound("ERROR_REASON_BUNDLE_UNKNOWN", f"bundle {bundle_id} is not loaded here", bundle_id=bundle_id)


def server_down(detail: str, bundle_id: str = "") -> DependencyDown:
    """The model server does not answer, or must not be used."""
    return DependencyDown("ERROR_REASON_MODEL_SERVER_DOWN", detail, bundle_id=bundle_id)


def model_failed(bundle_id: str, detail: str) -> FailedPrecondition:
    """The model cannot be loaded, or its own code failed."""
    return FailedPrecondition(
        "ERROR_REASON_MODEL_FAILED", f"model {bundle_id}: {detail}", bundle_id=bundle_id, stage=STAGE
    )


def refused(bundle_id: str, detail: str) -> InvalidInput:
    """The tensors are none the model takes."""
    return InvalidInput("ERROR_REASON_INVALID_REQUEST", f"model {bundle_id}: {detail}", model=bundle_id, violations=())


def told(bundle_id: str, error: Exception) -> PredmeshError:
    """What the caller is told of a load or a warm-up that failed: whose fault it is."""
    if isinstance(error, InferenceFailed) and error.fault in (Fault.SERVER_DOWN, Fault.ABSENT, Fault.LATE):
        return server_down(f"model {bundle_id}: {error}", bundle_id)
    if isinstance(error, ServerUnsound):
        return server_down(str(error), bundle_id)
    return model_failed(bundle_id, str(error))
