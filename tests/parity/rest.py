"""Rows as bodies of HTTP, with one answer or a stream of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf import json_format
from google.rpc import status_pb2
from predmesh.type.v1 import frame_pb2
from predmesh_frame import oip

from tests.parity.explaining import explained
from tests.parity.golden import Case
from tests.parity.messages import Said
from tests.parity.outcomes import CODES, Outcome, in_band, refused
from tests.parity.rows import AsText, CannotSay, plain
from tests.parity.tables import frame, of_arrays, of_frame, outputs_of, raw_bytes, tensors
from tests.parity.wire import Reply, Shot

JSON = ("content-type", "application/json")

HTTP_STATUS = {3: 400, 4: 504, 5: 404, 7: 403, 8: 429, 9: 400, 12: 501, 13: 500, 14: 503}
"""The HTTP status of each gRPC code."""

_LENGTH = "inference-header-content-length"


@dataclass(frozen=True)
class Rest:
    """JSON over HTTP; *body* and *path* say a case, *told* reads the rows of an answer."""

    name: str
    path: Callable[[Case], str]
    body: Callable[[Case], tuple[bytes, tuple[tuple[str, str], ...]]]
    told: Callable[[Case, Reply], Said]
    takes_raw: bool = True

    def ask(self, case: Case) -> Shot:
        """The request."""
        if case.stream:
            raise CannotSay("one answer alone")
        if case.raw is None:
            body, headers = self.body(case)
        elif self.takes_raw:
            body, headers = case.raw, (JSON,)
        else:
            raise CannotSay("its other form says it")
        path = self.path(case)
        return Shot("http", path, (body,), headers, False, case.seconds, case.cancel_after)

    def read(self, case: Case, reply: Reply) -> list[Outcome]:
        """What came of it."""
        if reply.code is not None:
            return [Outcome(CODES[reply.code], None, None)]
        if reply.status == 200:
            origin, rows = self.told(case, reply)
            return [Outcome(rows=rows, origin=origin)]
        return [document_outcome(reply.bodies[0], len(case.rows), reply.status)]


@dataclass(frozen=True)
class RestStream:
    """JSON over HTTP, answered by a line or a server-sent event a row; *told* reads the answer of one."""

    name: str
    path: str
    told: Callable[[Any], Said]
    lines: bool
    events: bool

    def ask(self, case: Case) -> Shot:
        """The request."""
        path = stream_path(self.path, case)
        if self.lines:
            body, kind = b"\n".join(map(row_text, case.rows)), "application/x-ndjson"
        else:
            (body, _), kind = _instances_body(case), "application/json"
        headers = [("content-type", kind), *([("accept", "text/event-stream")] if self.events else [])]
        return Shot("http", path, (body,), tuple(headers), cancel_after=case.cancel_after)

    def read(self, case: Case, reply: Reply) -> list[Outcome]:
        """What came of each row."""
        if reply.code is not None:
            return [Outcome(CODES[reply.code], None, None)]
        if reply.status != 200:
            return [document_outcome(reply.bodies[0], len(case.rows), reply.status)] * len(case.expected)
        marked = re.findall(rb"^data: ?(.*)$", reply.bodies[0], re.MULTILINE)[:-1]
        parts = marked if self.events else reply.bodies[0].splitlines()
        return [row_outcome(index, json.loads(part), self.told) for index, part in enumerate(parts)]


def stream_path(path: str, case: Case) -> str:
    """Where the rows of *case* go one by one; *path* has places for model and version. Raises CannotSay."""
    if not case.model or (not case.stream and len(case.rows) != 1):
        raise CannotSay("each row is a request of its own, and the model is part of the path")
    if case.raw is not None or case.seconds is not None or case.explain is not None:
        raise CannotSay("no stream has deadlines or reasons, and what cannot be read is a row")
    version = f"/versions/{case.version or 1}" if case.version or "typed" in path else ""
    return path.format(case.model, version)


def row_text(row: Any) -> bytes:
    """A line, or a message, that is *row*. Raises CannotSay."""
    return row.text.encode() if isinstance(row, AsText) else _document(plain(row, finite=True))[0]


def row_outcome(index: int, document: Any, told: Callable[[Any], Said]) -> Outcome:
    """What came of the row at *index* of a stream; *told* reads its answer."""
    if document["index"] != index:
        return Outcome(oddities=(f"answer {index} is of row {document['index']}",))
    if "error" in document:
        error = document["error"]
        message = error["message"].replace(f"instances[{index}]", "instance", 1)
        return in_band(error["code"], error["reason"], message, 1)
    origin, rows = told(document["response"])
    return Outcome(rows=rows, origin=origin)


def document_outcome(body: bytes, rows: int, status: int) -> Outcome:
    """What an error document says, which came with that HTTP *status*."""
    try:
        told = json_format.Parse(body, status_pb2.Status(), ignore_unknown_fields=True)
    except json_format.ParseError as error:
        return Outcome(oddities=(f"HTTP {status} without an error document: {error}"[:200],))
    right = HTTP_STATUS.get(told.code)
    return refused(told, rows, () if status == right else (f"HTTP {status} for code {told.code}",))


def _version(case: Case) -> str:
    return f"/versions/{case.version}" if case.version else ""


def _generic_path(case: Case) -> str:
    if not case.model:
        raise CannotSay("the model is part of the path")
    return f"/v1/models/{case.model}{_version(case)}:{'predict' if case.explain is None else 'explain'}"


def _typed_path(case: Case) -> str:
    if not case.model:
        raise CannotSay("the model is part of the path")
    method = "predict" if len(case.rows) == 1 else "predictBatch"
    if case.explain is not None:
        if len(case.rows) != 1:
            raise CannotSay("a row at a time")
        method = "explain"
    return f"/v1/models/{case.model}/versions/{case.version or 1}/typed:{method}"


def _oip_path(case: Case) -> str:
    if case.explain is not None:
        raise CannotSay("the protocol has no reasons")
    if not case.model:
        raise CannotSay("the model is part of the path")
    return f"/v2/models/{case.model}{_version(case)}/infer"


def _document(document: Any) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    try:
        return json.dumps(document, ensure_ascii=False).encode(), (JSON,)
    except UnicodeEncodeError:
        raise CannotSay("JSON is UTF-8") from None


def _instances_body(case: Case) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    return _document({"instances": [plain(row, finite=True) for row in case.rows], **(case.explain or {})})


def _columns_body(case: Case) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    columns = json_format.MessageToDict(frame(case.rows, packed=False))
    return _document({"columns": columns, **(case.explain or {})})


def _typed_body(case: Case) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    rows = [plain(row, finite=True) for row in case.rows]
    asked: dict[str, Any] = {"instance": rows[0]} if len(rows) == 1 else {"instances": rows}
    return _document({**asked, **(case.explain or {})})


def _oip_body(case: Case) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    inputs = []
    for name, datatype, shape, values in tensors(case.rows):
        try:
            data = [value.decode() if isinstance(value, bytes) else value for value in values]
        except UnicodeDecodeError:
            raise CannotSay("JSON holds text alone") from None
        if any(isinstance(value, float) and not np.isfinite(value) for value in data):
            raise CannotSay("JSON has no NaN and no infinity")
        inputs.append({"name": name, "datatype": datatype, "shape": list(shape), "data": data})
    return _document({"inputs": inputs})


def _oip_binary_body(case: Case) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    inputs, tails = [], []
    for name, datatype, shape, values in tensors(case.rows):
        tails.append(raw_bytes(datatype, values))
        size = {"binary_data_size": len(tails[-1])}
        inputs.append({"name": name, "datatype": datatype, "shape": list(shape), "parameters": size})
    head, headers = _document({"inputs": inputs, "parameters": {"binary_data_output": True}})
    return head + b"".join(tails), (*headers[:0], (_LENGTH, str(len(head))))


def _generic_told(case: Case, reply: Reply) -> Said:
    return _with_reasons(case, json.loads(reply.bodies[0]), generic_row)


def _with_reasons(case: Case, answer: Any, told: Callable[[Any], Said]) -> Said:
    """What an answer says; *told* reads the predictions in it."""
    if case.explain is None:
        return told(answer)
    origin, rows = told(answer["prediction"])
    reasons = answer["explanations"] if "explanations" in answer else [answer["explanation"]]
    return origin, list(map(_explained, rows, reasons))


def _explained(row: Mapping[str, Any], reasons: Any) -> dict[str, Any]:
    found = [
        (each["feature"], float(each.get("value", 0)), float(each.get("contribution", 0)))
        for each in reasons.get("attributions", ())
    ]
    return explained(row, float(reasons.get("baseValue", 0)), found)


def generic_row(answer: Any) -> Said:
    """What a PredictResponse in JSON says."""
    return (answer["model"], answer["modelVersion"], answer["bundleId"]), outputs_of(answer["predictions"])


def _columns_told(case: Case, reply: Reply) -> Said:
    return _with_reasons(case, json.loads(reply.bodies[0]), _columns_rows)


def _columns_rows(answer: Any) -> Said:
    columns = json_format.ParseDict(answer["columns"], frame_pb2.Frame())
    return (answer["model"], answer["modelVersion"], answer["bundleId"]), of_frame(columns)


def _typed_told(case: Case, reply: Reply) -> Said:
    return _with_reasons(case, json.loads(reply.bodies[0]), typed_row)


def typed_row(answer: Any) -> Said:
    """What a typed PredictResponse in JSON says."""
    about = answer["provenance"]
    rows = answer["predictions"] if "predictions" in answer else [answer["prediction"]]
    return (about["model"], about["modelVersion"], about["bundleId"]), outputs_of(rows)


def _oip_told(case: Case, reply: Reply) -> Said:
    body = reply.bodies[0]
    length = int(reply.headers.get(_LENGTH, len(body)))
    answer, rest, arrays = json.loads(body[:length]), body[length:], {}
    for each in answer["outputs"]:
        if "data" in each:
            values: Any = np.empty(len(each["data"]), object)
            values[:] = [value.encode() if isinstance(value, str) else value for value in each["data"]]
            arrays[each["name"]] = values.reshape(each["shape"])
        else:
            size = each["parameters"]["binary_data_size"]
            arrays[each["name"]] = oip.from_raw(each["datatype"], each["shape"], rest[:size])
            rest = rest[size:]
    bundle = answer["parameters"]["bundle_id"]
    return (answer["model_name"], answer["model_version"], bundle), of_arrays(arrays)


REST = [
    Rest("generic rest", _generic_path, _instances_body, _generic_told),
    Rest("columns rest", _generic_path, _columns_body, _columns_told, takes_raw=False),
    Rest("typed rest", _typed_path, _typed_body, _typed_told),
    Rest("oip rest", _oip_path, _oip_body, _oip_told),
    Rest("oip-binary rest", _oip_path, _oip_binary_body, _oip_told, takes_raw=False),
]
"""The faces with one answer."""

REST_STREAMS = [
    RestStream("generic rest stream", "/v1/models/{}{}:streamPredict", generic_row, lines=False, events=False),
    RestStream("generic lines stream", "/v1/models/{}{}:streamPredict", generic_row, lines=True, events=False),
    RestStream("typed events stream", "/v1/models/{}{}/typed:streamPredict", typed_row, lines=False, events=True),
]
"""The faces with an answer a row."""
