"""PredictionHttpService: strict JSON bodies to the domain, and its answers as JSON documents."""

from __future__ import annotations

from typing import Any

import orjson
from google.api import httpbody_pb2
from google.protobuf import json_format
from predmesh.prediction.v1 import prediction_http_service_pb2 as pb
from predmesh.prediction.v1.prediction_http_service_pb2_grpc import PredictionHttpServiceServicer
from predmesh.type.v1 import frame_pb2
from predmesh_rpc.context import header

from predmesh_prediction.answer_json import answer_document, explained_document
from predmesh_prediction.bodies import check_content_type, read_object
from predmesh_prediction.home_page import ORIGIN, home_page
from predmesh_prediction.messages import is_packed, read_columns
from predmesh_prediction.predicting import Predictor, Rows
from predmesh_prediction.values import integer, kind
from predmesh_prediction.violations import Violations

ORIGIN_HEADER = "x-predmesh-origin"
"""Host and port that the gateway was asked under; it overwrites what a client sends."""

_PREDICT_KEYS = ("instances", "columns")
_EXPLAIN_KEYS = (*_PREDICT_KEYS, "top", "output")
_LARGEST_TOP = 2**32 - 1


class PredictionHttpServicer(PredictionHttpServiceServicer):
    """Serves predictions and explanations as JSON, and the home page."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

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
        top, output = _choices(document, request.model)
        rows, packed = _rows(document, request.model)
        answer = await self._predictor.explain(request.model, request.version, rows, output, top)
        return _json(explained_document(answer, columns=rows.columns is not None, packed=packed))

    async def GetHomePage(self, request: pb.GetHomePageRequest, context: Any) -> httpbody_pb2.HttpBody:
        """Show what is served, with calls to paste."""
        models = [(live, served.stored) for live, served in self._predictor.catalogue.models()]
        page = home_page(models, header(ORIGIN_HEADER) or ORIGIN)
        return httpbody_pb2.HttpBody(content_type="text/html; charset=utf-8", data=page.encode())


def _document(request: pb.PredictHttpRequest | pb.ExplainHttpRequest, keys: tuple[str, ...]) -> dict[str, Any]:
    check_content_type(request.body.content_type)
    return read_object(request.body.data, keys, request.model)


def _rows(document: dict[str, Any], model: str) -> tuple[Rows, bool]:
    """The rows of a body, and whether they came packed."""
    instances, columns = document.get("instances"), document.get("columns")
    if instances is not None and not isinstance(instances, list):
        violations = Violations()
        violations.add("instances", f"must be an array of objects, not {kind(instances)}")
        violations.check(model)
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


def _choices(document: dict[str, Any], model: str) -> tuple[int, str]:
    violations = Violations()
    given, output = document.get("top") or 0, document.get("output") or ""
    top = integer(given)
    if top is None or isinstance(given, bool) or not 0 <= top <= _LARGEST_TOP:
        violations.add("top", f"must be a whole number, 0 for all or more, not {kind(given)}")
    if not isinstance(output, str):
        violations.add("output", f"must be the name of an output, not {kind(output)}")
    violations.check(model)
    return top or 0, output


def _json(document: dict[str, Any]) -> httpbody_pb2.HttpBody:
    return httpbody_pb2.HttpBody(content_type="application/json", data=orjson.dumps(document))
