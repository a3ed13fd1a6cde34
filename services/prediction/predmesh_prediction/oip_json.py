"""Bodies of the Open Inference Protocol over REST: JSON, with binary tensors behind it where its header says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import orjson
from predmesh_frame import oip
from predmesh_frame.columns import Array, object_array
from predmesh_rpc.errors import InvalidInput
from predmesh_rpc.grpc_frames import ENCODINGS, inflated

from predmesh_prediction.bodies import read_object
from predmesh_prediction.inferring import Inferred
from predmesh_prediction.inputs import flattened
from predmesh_prediction.oip_parameters import INPUT, OUTPUT, REQUEST, Rule, check_parameters, flag, timeout_seconds
from predmesh_prediction.v2 import NO_NAME, Named, blame, check_count, check_once
from predmesh_prediction.validation import BYTES, check_bytes
from predmesh_prediction.values import kind
from predmesh_prediction.violations import Violations


def _bytes(value: Any) -> str:
    return "" if type(value) is int and value >= 0 else f"must be a whole number of bytes, not {kind(value)}"


_REQUEST = {**REQUEST, "binary_data_output": flag}
_INPUT = {**INPUT, "binary_data_size": _bytes}
_OUTPUT = {**OUTPUT, "binary_data": flag}
_KEYS = ("id", "inputs", "outputs", "parameters")
_INPUT_KEYS = ("name", "shape", "datatype", "parameters", "data")
_OUTPUT_KEYS = ("name", "parameters")
_INDEX_KEYS = ("ready",)
_LOAD_KEYS = ("parameters",)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    id: str
    tensors: list[Named]
    wanted: dict[str, bool]
    """Outputs asked for, in order, and whether each goes out in binary; none means all."""
    binary: bool
    """Whether outputs that were not asked for by name go out in binary."""
    seconds: float
    """Time that the request allows; may be infinite."""


def read_request(body: bytes, header_length: str, encoding: str, model: str) -> Asked:
    """The request in *body*.

    Args:
        body: JSON, followed by the binary tensors.
        header_length: the header `inference-header-content-length`, length of the JSON; empty where all is JSON.
        encoding: the header `content-encoding`; empty, `identity`, `gzip` or `deflate`.
        model: named in errors.

    Raises:
        InvalidInput: with every violation found.
    """
    check_bytes(len(body))
    body = _inflated(body, encoding, model)
    length = _length(header_length, len(body), model)
    document, rest = read_object(body[:length], _KEYS, model), body[length:]
    violations = Violations()
    id = _given(document, "id", "")
    if not isinstance(id, str):
        violations.add("id", f"must be a string, not {kind(id)}")
    parameters = _parameters(document, _REQUEST, "parameters", violations)
    tensors: list[Named] = []
    for spec, at in _specs(document, "inputs", _INPUT_KEYS, model, violations):
        given = _parameters(spec, _INPUT, f"{at}.parameters", violations)
        tensor, rest = _tensor(spec, given.get("binary_data_size"), rest, at, violations)
        tensors += [] if tensor is None else [tensor]
    if rest and not violations.count:
        violations.add("body", f"holds {len(rest)} bytes that no tensor's binary_data_size takes")
    binary = parameters.get("binary_data_output") is True
    outputs = []
    for spec, at in _specs(document, "outputs", _OUTPUT_KEYS, model, violations):
        given = _parameters(spec, _OUTPUT, f"{at}.parameters", violations)
        outputs.append((str(spec.get("name")), given.get("binary_data", binary) is True))
    violations.check(model)
    check_once([name for name, _ in outputs], model)
    return Asked(id, tensors, dict(outputs), binary, timeout_seconds(parameters))


def read_index(body: bytes) -> bool:
    """Whether a request for the index in *body*, which may be empty, wants those models alone that can answer.

    Raises:
        InvalidInput: it is no such request.
    """
    ready = _given(read_object(body, _INDEX_KEYS, "") if body else {}, "ready", False)
    if not isinstance(ready, bool):
        violations = Violations()
        violations.add("ready", f"must be true or false, not {kind(ready)}")
        violations.check("")
    return bool(ready)


def read_load(body: bytes, model: str) -> dict[str, Any]:
    """The parameters of a request to load a model in *body*, which may be empty.

    Raises:
        InvalidInput: it is no such request.
    """
    parameters = _given(read_object(body, _LOAD_KEYS, model) if body else {}, "parameters", {})
    if not isinstance(parameters, dict):
        violations = Violations()
        violations.add("parameters", f"must be an object, not {kind(parameters)}")
        violations.check(model)
    return dict(parameters)


def write_answer(answer: Inferred, asked: Asked, request_id: str) -> tuple[bytes, int]:
    """The body of *answer*, and the length of its JSON; 0 where all of it is."""
    tails: list[bytes] = []
    document = {
        "model_name": answer.model,
        "model_version": answer.version,
        **({"id": asked.id} if asked.id else {}),
        "parameters": {"bundle_id": answer.bundle_id, "request_id": request_id},
        "outputs": [_output(each, asked.wanted.get(each.name, asked.binary), tails) for each in answer.outputs],
    }
    head = orjson.dumps(document)
    return (head + b"".join(tails), len(head)) if tails else (head, 0)


def _length(header: str, size: int, model: str) -> int:
    if not header:
        return size
    if not header.isascii() or not header.isdecimal() or int(header) > size:
        violations = Violations()
        text = f"must be the length of the JSON, at most {size}, not {header[:40]!r}"
        violations.add("inference-header-content-length", text)
        violations.check(model)
    return int(header)


def _inflated(body: bytes, encoding: str, model: str) -> bytes:
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ENCODINGS:
        violations = Violations()
        text = f"must be identity, {' or '.join(ENCODINGS)}, not {encoding[:40]!r}"
        violations.add("content-encoding", text)
        violations.check(model)
    try:
        return inflated(body, BYTES)
    except ValueError as error:
        raise InvalidInput("ERROR_REASON_MALFORMED_BODY", f"the body is not {encoding}: {error}") from None


def _given(document: dict[str, Any], key: str, default: Any) -> Any:
    """What stands under *key*; clients write null for what they leave out."""
    value = document.get(key)
    return default if value is None else value


def _specs(
    document: dict[str, Any], key: str, keys: Sequence[str], model: str, violations: Violations
) -> Iterator[tuple[dict[str, Any], str]]:
    """The tensors described under *key*, each with its place in the request."""
    given = _given(document, key, [])
    if not isinstance(given, list):
        violations.add(key, f"must be an array of objects, not {kind(given)}")
        return
    check_count(len(given), key, model)
    for index, spec in enumerate(given):
        at = f"{key}[{index}]"
        if not isinstance(spec, dict):
            violations.add(at, f"must be an object, not {kind(spec)}")
            continue
        for name in spec:
            if name not in keys:
                text = f"is no key here; there are {', '.join(keys)}"
                violations.unknown(f"{at}.{name}"[:120], text, name, keys)
        name = spec.get("name")
        if isinstance(name, str) and name:
            at = f"{key}.{name}"[:120]
        else:
            violations.add(f"{at}.name", NO_NAME)
        yield spec, at


def _parameters(given: dict[str, Any], rules: Mapping[str, Rule], at: str, violations: Violations) -> dict[str, Any]:
    """The parameters of *given*, checked."""
    parameters = _given(given, "parameters", {})
    if not isinstance(parameters, dict):
        violations.add(at, f"must be an object, not {kind(parameters)}")
        return {}
    check_parameters(parameters, rules, at, violations)
    return parameters


def _tensor(
    spec: dict[str, Any], size: Any, rest: bytes, at: str, violations: Violations
) -> tuple[Named | None, bytes]:
    """The tensor of *spec*, of which *size* bytes of the binary part are the data, and what is left of that part."""
    shape, datatype = spec.get("shape"), spec.get("datatype")
    data, rest = (rest[:size], rest[size:]) if _bytes(size) == "" else (None, rest)
    if not isinstance(datatype, str):
        violations.add(f"{at}.datatype", "is required and must be a string")
    if not isinstance(shape, list) or not all(type(each) is int for each in shape):
        violations.add(f"{at}.shape", "is required and must be an array of whole numbers")
    elif isinstance(datatype, str):
        try:
            if size is None:
                values = _from_json(datatype, shape, spec.get("data"))
            elif "data" in spec:
                raise oip.TensorError("data", "stands beside binary_data_size: send one of them")
            else:
                values = oip.from_raw(datatype, shape, data or b"")
        except oip.TensorError as error:
            blame(error, datatype, at, violations)
        else:
            return Named(str(spec.get("name")), datatype, values), rest
    return None, rest


def _from_json(datatype: str, shape: list[int], data: Any) -> Array:
    dtype, dims = oip.dtype_of(datatype), oip.checked_shape(shape)
    if not isinstance(data, list):
        raise oip.TensorError("data", f"must bring its data as an array, not {kind(data)}")
    flat = flattened([data], dims) if any(type(each) is list for each in data) else data
    if flat is None or any(type(each) is list for each in flat):
        raise oip.TensorError("data", f"has data nested otherwise than shape {shape}: nest it so, or not at all")
    if len(flat) != prod(dims):
        raise oip.TensorError("data", f"holds {len(flat)} values where shape {shape} takes {prod(dims)}")
    if set(map(type, flat)) - _ALLOWED[dtype.kind]:
        odd = kind(next(value for value in flat if _odd(value, dtype)))
        raise oip.TensorError("data", f"of datatype {datatype} holds {odd}")
    if dtype.hasobject:
        return object_array([value.encode() for value in flat], dims)
    try:
        with np.errstate(over="ignore"):
            values = np.array(flat, dtype).reshape(dims)
    except OverflowError:
        raise oip.TensorError("data", f"holds a number that does not fit {datatype}") from None
    if dtype.kind == "f" and not np.isfinite(values).all():
        raise oip.TensorError("data", f"holds a number that does not fit {datatype}")
    return values


def _odd(value: Any, dtype: np.dtype[Any]) -> bool:
    return type(value) not in _ALLOWED[dtype.kind]


_ALLOWED: dict[str, set[type]] = {"b": {bool}, "i": {int}, "u": {int}, "f": {int, float}, "O": {str}}


def _output(tensor: Named, binary: bool, tails: list[bytes]) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": list(tensor.values.shape),
    }
    if binary:
        tails.append(oip.to_raw(tensor.values))
        return document | {"parameters": {"binary_data_size": len(tails[-1])}}
    return document | {"data": _json_data(tensor)}


def _json_data(tensor: Named) -> list[Any]:
    values: list[Any] = tensor.values.ravel().tolist()
    if tensor.datatype != "BYTES":
        return values
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError:
        raise InvalidInput(
            "ERROR_REASON_INVALID_REQUEST", f"output {tensor.name!r} is no text: ask for it with binary_data"
        ) from None
