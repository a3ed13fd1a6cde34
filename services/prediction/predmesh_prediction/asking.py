"""How an adapter asks a stage, wherever that runs, and says what went wrong in the words of the mesh."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

import grpc
from predmesh_frame import FrameError
from predmesh_rpc.errors import DependencyDown, FailedPrecondition, InvalidInput, NotFound, PredmeshError
from predmesh_rpc.translate import translate

_Answer = TypeVar("_Answer")


async def asked(stage: str, call: Awaitable[_Answer]) -> _Answer:
    """The answer of *call* to *stage*.

    Raises:
        PredmeshError: what the stage said. One that has not loaded the bundle yet is down for it; one that refuses what
            the graph made of the caller's good rows shows a fault of the bundle, not of the caller.
    """
    try:
        return await call
    except grpc.RpcError as error:
        told = translate(error, stage)
    except PredmeshError as error:
        told = error
    if isinstance(told, NotFound):
        raise DependencyDown("ERROR_REASON_STAGE_DOWN", f"{stage} has not loaded the model yet: try again", stage=stage)
    if isinstance(told, InvalidInput):
        text = f"{stage} refused what it was given: {told.message}"
        raise FailedPrecondition("ERROR_REASON_MODEL_FAILED", text, stage=stage)
    raise told from None


def model_failed(
    bundle_id: str, text: str = "the model failed on these rows; the log has its message"
) -> PredmeshError:
    """The error to raise when the model answered these rows with none, or with one that cannot be."""
    return FailedPrecondition("ERROR_REASON_MODEL_FAILED", text, bundleId=bundle_id, stage="inference")


def model_absent(bundle_id: str) -> PredmeshError:
    """The error to raise when nobody answers for the model."""
    return DependencyDown(
        "ERROR_REASON_MODEL_SERVER_DOWN",
        "the model server does not answer, or is loading the model: try again",
        bundleId=bundle_id,
    )


def unreadable(stage: str, error: FrameError) -> DependencyDown:
    """The error to raise when *stage* answered with a frame or tensor that cannot be."""
    return DependencyDown("ERROR_REASON_STAGE_DOWN", f"{stage} answered what cannot be read: {error}", stage=stage)
