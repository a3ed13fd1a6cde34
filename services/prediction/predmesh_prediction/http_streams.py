"""Streams of predictions as JSON: one line, server-sent event or message a row, in request order."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

import orjson
from google.api import httpbody_pb2
from predmesh.prediction.v1 import prediction_http_service_pb2 as pb
from predmesh_rpc import context as ambient

from predmesh_prediction.answers import Answer
from predmesh_prediction.bodies import (
    JSON,
    LINES,
    check_content_type,
    media_type,
    read_instances,
    read_line,
    read_object,
)
from predmesh_prediction.one_row import ROW, of_one_row
from predmesh_prediction.pipeline import in_order
from predmesh_prediction.predicting import Predictor, Rows
from predmesh_prediction.stream_errors import stream_error
from predmesh_prediction.validation import check_bytes, check_some_rows

EVENTS = "text/event-stream"
"""Content type of server-sent events."""

_Message = pb.StreamPredictMessagesRequest | pb.StreamPredictTypedMessagesRequest
_Request = pb.StreamPredictHttpRequest | pb.StreamPredictTypedHttpRequest | _Message
_Told = Callable[[Answer], dict[str, Any]]
_Row = Callable[[], Any]
"""Gives the JSON value of a row, or raises what is wrong with it."""


class HttpStreams:
    """Predicts each row by itself, so that one that fails leaves the others alone."""

    def __init__(self, predictor: Predictor, *, window: int) -> None:
        """Answer with *predictor*; of one stream *window* rows are under way, or wait to be taken, at most."""
        self._predictor = predictor
        self._window = window

    async def answers(self, request: _Request, told: _Told) -> AsyncGenerator[httpbody_pb2.HttpBody, None]:
        """The body that answers *request*, a part a row; *told* gives the JSON form of a row's answer.

        Raises:
            PredmeshError: what is wrong with the request as a whole, before the first part.
        """
        self._predictor.catalogue.find(request.model, request.version)
        rows = _rows(request)
        events = EVENTS in map(media_type, ambient.header("accept").split(","))
        kind, written = (EVENTS, _event) if events else (LINES, _line)

        async def answered(index: int, row: _Row) -> bytes:
            return written(await self._outcome(request, index, row, f"instances[{index}]", told))

        async with aclosing(in_order(_each(rows), answered, window=self._window)) as parts:
            async for part in parts:
                yield httpbody_pb2.HttpBody(content_type=kind, data=part)
        if events:
            yield httpbody_pb2.HttpBody(content_type=kind, data=b'event: end\ndata: {"rows":%d}\n\n' % len(rows))

    async def messages(
        self, requests: AsyncIterator[_Message], told: _Told
    ) -> AsyncGenerator[httpbody_pb2.HttpBody, None]:
        """What each of *requests*, which brings a row, is answered; *told* gives the JSON form of a row's answer."""

        async def answered(index: int, request: _Message) -> bytes:
            row = partial(_read, request)
            return orjson.dumps(await self._outcome(request, index, row, ROW, told))

        async with aclosing(in_order(requests, answered, window=self._window)) as answers:
            async for answer in answers:
                yield httpbody_pb2.HttpBody(content_type=JSON, data=answer)

    async def _outcome(self, request: _Request, index: int, row: _Row, place: str, told: _Told) -> dict[str, Any]:
        """The document that says what became of a row, which is called *place*."""
        request_id = f"{ambient.request_id()}-{index}"
        try:
            with of_one_row(place):
                answer = await self._predictor.predict(request.model, request.version, Rows([row()]), request_id)
            return {"index": index, "response": told(answer)}
        except Exception as error:
            fault = stream_error(error, request_id)
            return {"index": index, "error": {"code": fault.code, "message": fault.message, "reason": fault.reason}}


def _rows(request: _Request) -> Sequence[_Row]:
    """The rows of a body; a line is read when its turn comes, so that a broken one is told where it stands."""
    body, model = request.body.data, request.model
    check_content_type(request.body.content_type, LINES)
    if media_type(request.body.content_type) == LINES:
        check_bytes(len(body))
        lines = [(number, line) for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]
        rows = [
            partial(read_line, line, number, f"instances[{row}]", model) for row, (number, line) in enumerate(lines)
        ]
    else:
        instances = read_instances(read_object(body, ("instances",), model), model)
        rows = [partial(_same, each) for each in instances or ()]
    check_some_rows(len(rows), "instances", model)
    return rows


async def _each(rows: Sequence[_Row]) -> AsyncIterator[_Row]:
    for row in rows:
        yield row


def _read(request: _Message) -> Any:
    """The row in a message."""
    check_bytes(len(request.body.data))
    return read_line(request.body.data, 1, ROW, request.model)


def _line(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def _event(document: dict[str, Any]) -> bytes:
    name = b"error" if "error" in document else b"prediction"
    return b"event: %b\nid: %d\ndata: %b\n\n" % (name, document["index"], orjson.dumps(document))


def _same(row: Any) -> Any:
    return row
