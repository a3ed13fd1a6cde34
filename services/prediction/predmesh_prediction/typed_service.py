"""A model's own service: its typed messages to the domain and back; the same rules, words and ids as generic calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from functools import cache, cached_property
from typing import Any

import grpc
from predmesh_rpc import context as ambient

from predmesh_prediction.answer_protos import explained_row, provenance_bytes
from predmesh_prediction.answers import Answer
from predmesh_prediction.one_row import ROW, check_row, of_one_row
from predmesh_prediction.pipeline import in_order
from predmesh_prediction.predicting import Predictor, Rows
from predmesh_prediction.stream_errors import stream_error
from predmesh_prediction.typed_contract import TypedContract
from predmesh_prediction.validation import check_bytes, check_row_count


class TypedService:
    """The methods of one model's service."""

    def __init__(self, contract: TypedContract, predictor: Predictor, model: str, version: str, window: int) -> None:
        """Serve *contract*, that of *model* and *version*; of a stream *window* rows are under way at most."""
        self.contract = contract
        self._predictor = predictor
        self._model = model
        self._version = version
        self._window = window
        self._response = contract.message("PredictResponse")
        self._batch_response = contract.message("PredictBatchResponse")
        self._stream_response = contract.message("StreamPredictResponse")

    @cached_property
    def handlers(self) -> Mapping[str, Any]:
        """The grpc.RpcMethodHandler of each method that the contract has."""
        makers = {
            "Predict": (grpc.unary_unary_rpc_method_handler, self._predict),
            "PredictBatch": (grpc.unary_unary_rpc_method_handler, self._predict_batch),
            "StreamPredict": (grpc.stream_stream_rpc_method_handler, self._stream_predict),
            "Explain": (grpc.unary_unary_rpc_method_handler, self._explain),
        }
        return {
            name: make(
                behaviour,
                request_deserializer=self.contract.message(f"{name}Request").FromString,
                response_serializer=self.contract.message(f"{name}Response").SerializeToString,
            )
            for name, (make, behaviour) in makers.items()
            if name in self.contract.methods
        }

    async def _predict(self, request: Any, context: Any) -> Any:
        return await self._predicted(request, ambient.request_id())

    async def _predict_batch(self, request: Any, context: Any) -> Any:
        check_bytes(request.ByteSize())
        check_row_count(len(request.instances), "instances")
        rows = [self.contract.row(each) for each in request.instances]
        answer = await self._predictor.predict(self._model, self._version, Rows(rows))
        response = self._batch_response(predictions=self._outputs(answer), prediction_ids=answer.prediction_ids)
        response.provenance.MergeFromString(provenance_bytes(answer))
        return response

    def _stream_predict(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        return in_order(requests, self._streamed, window=self._window)

    async def _explain(self, request: Any, context: Any) -> Any:
        rows = self._only(request)
        with of_one_row():
            answer = await self._predictor.explain(self._model, self._version, rows, request.output, request.top)
        response = self.contract.message("ExplainResponse")(
            prediction=self._told(answer.prediction), method=answer.method, space=answer.space, output=answer.output
        )
        for row in answer.rows:
            response.explanation.MergeFromString(explained_row(row).SerializeToString())
        return response

    async def _streamed(self, index: int, request: Any) -> Any:
        request_id = f"{ambient.request_id()}-{index}"
        response = self._stream_response(index=index)
        try:
            response.response.CopyFrom(await self._predicted(request, request_id))
        except Exception as error:
            response.error.MergeFromString(stream_error(error, request_id).SerializeToString())
        return response

    async def _predicted(self, request: Any, request_id: str) -> Any:
        rows = self._only(request)
        with of_one_row():
            answer = await self._predictor.predict(self._model, self._version, rows, request_id)
        return self._told(answer)

    def _only(self, request: Any) -> Rows:
        """The one row of *request*."""
        check_bytes(request.ByteSize())
        check_row(request.HasField(ROW), self._model)
        return Rows([self.contract.row(request.instance)])

    def _told(self, answer: Answer) -> Any:
        (prediction,), (prediction_id,) = self._outputs(answer), answer.prediction_ids
        response = self._response(prediction=prediction, prediction_id=prediction_id)
        response.provenance.MergeFromString(provenance_bytes(answer))
        return response

    def _outputs(self, answer: Answer) -> list[Any]:
        columns = cache(lambda: answer.columns.columns)
        return [
            self.contract.outputs(record, lambda name, row=row: columns()[name].values[row])  # type: ignore[misc]
            for row, record in enumerate(answer.predictions)
        ]
