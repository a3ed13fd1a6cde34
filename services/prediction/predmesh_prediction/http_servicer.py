"""PredictionHttpService: strict JSON bodies to the domain, and its answers as JSON documents."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import orjson
from google.api import httpbody_pb2
from google.protobuf import json_format
from predmesh.prediction.v1 import prediction_http_service_pb2 as pb
from predmesh.prediction.v1.prediction_http_service_pb2_grpc import PredictionHttpServiceServicer
from predmesh.type.v1 import frame_pb2
from predmesh_bundle.contract_names import DESCRIPTORS, OPENAPI, REFERENCE, SCHEMA, TEXT
from predmesh_rpc.context import header, send_initial_metadata
from predmesh_rpc.errors import FailedPrecondition

from predmesh_prediction.answer_json import (
    answer_document,
    explained_document,
    typed_batch_document,
    typed_document,
    typed_explained_document,
)
from predmesh_prediction.bodies import check_content_type, read_instances, read_object
from predmesh_prediction.home_page import ORIGIN, home_page
from predmesh_prediction.http_streams import HttpStreams
from predmesh_prediction.messages import is_packed, read_columns
from predmesh_prediction.one_row import ROW, check_row, of_one_row
from predmesh_prediction.predicting import Predictor, Rows
from predmesh_prediction.values import integer, kind
from predmesh_prediction.violations import Violations

ORIGIN_HEADER = "x-predmesh-origin"
"""Host and port that the gateway was asked under; it overwrites what a client sends."""

_PREDICT_KEYS = ("instances", "columns")
_DEFAULTS: dict[str, Any] = {"top": 0, "output": ""}
_CHOICES = tuple(_DEFAULTS)
_EXPLAIN_KEYS = (*_PREDICT_KEYS, *_CHOICES)
_LARGEST_TOP = 2**32 - 1
_Bodied = (
    pb.PredictHttpRequest
    | pb.ExplainHttpRequest
    | pb.PredictTypedHttpRequest
    | pb.PredictBatchTypedHttpRequest
    | pb.ExplainTypedHttpRequest
)

CONTRACT_FILES = {
    TEXT: "text/plain; charset=utf-8",
    DESCRIPTORS: "application/octet-stream",
    OPENAPI: "application/json",
    SCHEMA: "application/schema+json",
    REFERENCE: "text/html; charset=utf-8",
}
"""The files of a contract, each with its media type."""

# The page itself says what it may load; that no other page may frame it only a header can say.
_FILE_HEADERS = {"content-security-policy": "frame-ancestors 'none'", "x-content-type-options": "nosniff"}


class PredictionHttpServicer(PredictionHttpServiceServicer):
    """Serves predictions and explanations as JSON, and the home page."""

    def __init__(self, predictor: Predictor, *, stream_window: int) -> None:
        self._predictor = predictor
        self._streams = HttpStreams(predictor, window=stream_window)

    async def PredictHttp(self, request: pb.PredictHttpRequest, context: Any) -> httpbody_pb2.HttpBody:
        """Predict the rows of a JSON body."""
        self._predictor.catalogue.find(request.model, request.version)
        document = _document(request, _PREDICT_KEYS)
        rows, packed = _rows(document, request.model)
        answer = await self._predictor.predict(request.model, request.version, rows)
        return _json(answer_document(answer, columns=rows.columns is not None, packed=packed))

    async def ExplainHttp(self, request: pb.ExplainHttpRequest, context: Any) -> httpbody_pb2.HttpBody:
        """Predict the rows of a JSON body and say why."""
        self._predictor.catalogue.find(request.model, request.version)
        document = _document(request, _EXPLAIN_KEYS)
        violations = Violations()
        top, output = _choices(document, violations)
        with violations.told_with(request.model):
            rows, packed = _rows(document, request.model)
        answer = await self._predictor.explain(request.model, request.version, rows, output, top, violations)
        return _json(explained_document(answer, columns=rows.columns is not None, packed=packed))

    def StreamPredictHttp(
        self, request: pb.StreamPredictHttpRequest, context: Any
    ) -> AsyncGenerator[httpbody_pb2.HttpBody, None]:
        """Predict the rows of a body one by one."""
        return self._streams.answers(request, answer_document)

    def StreamPredictMessages(
        self, request_iterator: AsyncIterator[pb.StreamPredictMessagesRequest], context: Any
    ) -> AsyncGenerator[httpbody_pb2.HttpBody, None]:
        """Predict rows as they come."""
        return self._streams.messages(request_iterator, answer_document)

    async def PredictTypedHttp(self, request: pb.PredictTypedHttpRequest, context: Any) -> httpbody_pb2.HttpBody:
        """Predict the one row of a JSON body."""
        self._predictor.catalogue.find(request.model, request.version)
        rows = _row(_document(request, (ROW,)), request.model)
        with of_one_row():
            answer = await self._predictor.predict(request.model, request.version, rows)
        return _json(typed_document(answer))

    async def PredictBatchTypedHttp(
        self, request: pb.PredictBatchTypedHttpRequest, context: Any
    ) -> httpbody_pb2.HttpBody:
        """Predict the rows of a JSON body."""
        self._predictor.catalogue.find(request.model, request.version)
        rows, _ = _rows(_document(request, ("instances",)), request.model)
        return _json(typed_batch_document(await self._predictor.predict(request.model, request.version, rows)))

    def StreamPredictTypedHttp(
        self, request: pb.StreamPredictTypedHttpRequest, context: Any
    ) -> AsyncGenerator[httpbody_pb2.HttpBody, None]:
        """Predict the rows of a body one by one."""
        return self._streams.answers(request, typed_document)

    def StreamPredictTypedMessages(
        self, request_iterator: AsyncIterator[pb.StreamPredictTypedMessagesRequest], context: Any
    ) -> AsyncGenerator[httpbody_pb2.HttpBody, None]:
        """Predict rows as they come."""
        return self._streams.messages(request_iterator, typed_document)

    async def ExplainTypedHttp(self, request: pb.ExplainTypedHttpRequest, context: Any) -> httpbody_pb2.HttpBody:
        """Predict the one row of a JSON body and say why."""
        self._predictor.catalogue.find(request.model, request.version)
        document = _document(request, (ROW, *_CHOICES))
        violations = Violations()
        top, output = _choices(document, violations)
        with violations.told_with(request.model):
            rows = _row(document, request.model)
        with of_one_row():
            answer = await self._predictor.explain(request.model, request.version, rows, output, top, violations)
        return _json(typed_explained_document(answer))

    async def GetContractHttp(self, request: pb.GetContractHttpRequest, context: Any) -> httpbody_pb2.HttpBody:
        """Give a file of a model's contract."""
        stored = self._predictor.catalogue.find(request.model, request.version).stored
        if request.file not in CONTRACT_FILES:
            violations = Violations()
            names = ", ".join(CONTRACT_FILES)
            violations.unknown("file", f"is no file of a contract; there are {names}", request.file, CONTRACT_FILES)
            violations.check(request.model)
        content = stored.contract_file(request.file)
        if content is None:
            raise FailedPrecondition(
                "ERROR_REASON_NOT_OFFERED",
                f"model {request.model!r} was stored without a contract: deploy it again",
                model=request.model,
            )
        for name, value in _FILE_HEADERS.items():
            send_initial_metadata(name, value)
        return httpbody_pb2.HttpBody(content_type=CONTRACT_FILES[request.file], data=content)

    async def GetHomePage(self, request: pb.GetHomePageRequest, context: Any) -> httpbody_pb2.HttpBody:
        """Show what is served, with calls to paste."""
        models = [(live, served.stored) for live, served in self._predictor.catalogue.models()]
        page = home_page(models, header(ORIGIN_HEADER) or ORIGIN)
        return httpbody_pb2.HttpBody(content_type="text/html; charset=utf-8", data=page.encode())


def _document(request: _Bodied, keys: tuple[str, ...]) -> dict[str, Any]:
    check_content_type(request.body.content_type)
    return read_object(request.body.data, keys, request.model)


def _rows(document: dict[str, Any], model: str) -> tuple[Rows, bool]:
    """The rows of a body, and whether they came packed."""
    instances, columns = read_instances(document, model), document.get("columns")
    if columns is None:
        return Rows(instances), False
    message = frame_pb2.Frame()
    try:
        json_format.ParseDict(columns, message)
    except (json_format.ParseError, TypeError, ValueError) as error:
        violations = Violations()
        violations.add("columns", f"must be a Frame in JSON: {error}"[:400])
        violations.check(model)
    return Rows(instances, read_columns(message, model)), is_packed(message)


def _row(document: dict[str, Any], model: str) -> Rows:
    """The only row of a body."""
    check_row(ROW in document, model)
    return Rows([document[ROW]])


def _choices(document: dict[str, Any], violations: Violations) -> tuple[int, str]:
    given, output = (default if document.get(key) is None else document[key] for key, default in _DEFAULTS.items())
    top = integer(given)
    if top is None or isinstance(given, bool) or not 0 <= top <= _LARGEST_TOP:
        violations.add("top", f"must be a whole number, 0 for all or more, not {kind(given)}")
    if not isinstance(output, str):
        violations.add("output", f"must be the name of an output, not {kind(output)}")
        output = ""
    return top or 0, output


def _json(document: dict[str, Any]) -> httpbody_pb2.HttpBody:
    return httpbody_pb2.HttpBody(content_type="application/json", data=orjson.dumps(document))
