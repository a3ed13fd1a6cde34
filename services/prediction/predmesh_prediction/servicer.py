"""PredictionService: messages to the domain and back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh.prediction.v1.prediction_service_pb2_grpc import PredictionServiceServicer
from predmesh_rpc import context as ambient

from predmesh_prediction.answer_protos import answer_proto, explained_proto
from predmesh_prediction.descriptions import model_proto
from predmesh_prediction.messages import is_packed, rows_of
from predmesh_prediction.pipeline import in_order
from predmesh_prediction.predicting import Predictor
from predmesh_prediction.stream_errors import stream_error


class PredictionServicer(PredictionServiceServicer):
    """Serves the predictions, explanations and descriptions of the live models."""

    def __init__(self, predictor: Predictor, *, stream_window: int) -> None:
        self._predictor = predictor
        self._catalogue = predictor.catalogue
        self._stream_window = stream_window

    async def Predict(self, request: pb.PredictRequest, context: Any) -> pb.PredictResponse:
        """Predict a batch of rows."""
        return await self._predict(request, ambient.request_id())

    async def Explain(self, request: pb.ExplainRequest, context: Any) -> pb.ExplainResponse:
        """Predict a batch of rows and say why."""
        answer = await self._predictor.explain(
            request.model, request.version, rows_of(request), request.output, request.top
        )
        return explained_proto(answer, columns=request.HasField("columns"), packed=is_packed(request.columns))

    def StreamPredict(
        self, request_iterator: AsyncIterator[pb.StreamPredictRequest], context: Any
    ) -> AsyncIterator[pb.StreamPredictResponse]:
        """Predict requests as they come, and answer in their order."""
        return in_order(request_iterator, self._streamed, window=self._stream_window)

    async def ListModels(self, request: pb.ListModelsRequest, context: Any) -> pb.ListModelsResponse:
        """List the live models."""
        models = [model_proto(live, served.stored) for live, served in self._catalogue.models()]
        return pb.ListModelsResponse(models=models, generation=self._catalogue.generation.number)

    async def GetModel(self, request: pb.GetModelRequest, context: Any) -> pb.GetModelResponse:
        """Describe one live model."""
        found = self._catalogue.find(request.model, request.version)
        live = next(live for live, served in self._catalogue.models() if served is found)
        return pb.GetModelResponse(model=model_proto(live, found.stored))

    async def _predict(self, request: pb.PredictRequest, request_id: str) -> pb.PredictResponse:
        answer = await self._predictor.predict(request.model, request.version, rows_of(request), request_id)
        return answer_proto(answer, columns=request.HasField("columns"), packed=is_packed(request.columns))

    async def _streamed(self, index: int, message: pb.StreamPredictRequest) -> pb.StreamPredictResponse:
        request_id = f"{ambient.request_id()}-{index}"
        try:
            response = await self._predict(message.request, request_id)
        except Exception as error:
            return pb.StreamPredictResponse(index=index, error=stream_error(error, request_id))
        return pb.StreamPredictResponse(index=index, response=response)
