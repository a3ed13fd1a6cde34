"""The ModelService: protobuf to the agent and back."""

from __future__ import annotations

import asyncio
from typing import Any

from predmesh.inference.v1 import model_service_pb2 as pb
from predmesh.inference.v1 import model_service_pb2_grpc
from predmesh_bundle.store import Store, StoreError

from predmesh_inference.agent import Agent
from predmesh_inference.domain import State, Status
from predmesh_inference.trouble import unknown_bundle

_STATES = {
    State.LOADING: pb.MODEL_STATE_LOADING,
    State.READY: pb.MODEL_STATE_READY,
    State.RECOVERING: pb.MODEL_STATE_RECOVERING,
    State.FAILED: pb.MODEL_STATE_FAILED,
    State.UNLOADING: pb.MODEL_STATE_UNLOADING,
}


class ModelServicer(model_service_pb2_grpc.ModelServiceServicer):
    """The life of models, as the contract has it."""

    def __init__(self, agent: Agent, store: Store) -> None:
        self._agent = agent
        self._store = store

    async def LoadModel(self, request: pb.LoadModelRequest, context: Any) -> pb.LoadModelResponse:
        """Loads a stored bundle; the load goes on when the caller leaves."""
        try:
            stored = await asyncio.to_thread(self._store.bundle, request.bundle_id)
        except StoreError:
            raise unknown_bundle(request.bundle_id) from None
        await self._agent.load(stored)
        return pb.LoadModelResponse(status=to_proto(self._agent.status(request.bundle_id)))

    async def UnloadModel(self, request: pb.UnloadModelRequest, context: Any) -> pb.UnloadModelResponse:
        """Unloads a bundle."""
        await self._agent.unload(request.bundle_id)
        return pb.UnloadModelResponse()

    async def WarmUpModel(self, request: pb.WarmUpModelRequest, context: Any) -> pb.WarmUpModelResponse:
        """Warms a bundle up again."""
        return pb.WarmUpModelResponse(status=to_proto(await self._agent.warm_up(request.bundle_id)))

    async def ListModelStatuses(
        self, request: pb.ListModelStatusesRequest, context: Any
    ) -> pb.ListModelStatusesResponse:
        """How every bundle fares."""
        statuses = [to_proto(status) for status in self._agent.statuses()]
        return pb.ListModelStatusesResponse(statuses=statuses, model_server=await self._agent.server_name())


def to_proto(status: Status) -> pb.ModelStatus:
    """The status as the contract spells it."""
    message = pb.ModelStatus(
        bundle_id=status.bundle_id,
        state=_STATES[status.state],
        detail=status.detail,
        recoveries=status.recoveries,
        device=status.device,
        instances=status.instances,
        model=status.model,
    )
    if status.last_success_time is not None:
        message.last_success_time.FromDatetime(status.last_success_time)
    return message
