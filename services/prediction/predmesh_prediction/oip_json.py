"""Bodies of the Open Inference Protocol over REST: JSON, with binary tensors behind it where its header says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import orjson
from predmesh_bundle.nearest import nearest
from predmesh_frame import FrameError, oip
from predmesh_frame.columns import Array, object_array
from predmesh_rpc.errors import InvalidInput

from predmesh_prediction.bodies import read_object
from predmesh_prediction.inferring import Inferred
from predmesh_prediction.v2 import Named
from predmesh_prediction.validation import check_bytes
from predmesh_prediction.values import kind
from predmesh_prediction.violations import Violations

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


def read_request(body: bytes, header_length: str, model: str) -> Asked:
    """The request in *body*.

    Args:
        body: JSON, followed by the binary tensors.
        header_length: the header `inference-header-content-length`, length of the JSON; empty where all is JSON.
        model: named in errors.

    Raises:
        InvalidInput: with every violation found.
    """
    check_bytes(len(body))
    length = _length(header_length, len(body), model)
    document, rest = read_object(body[:length], _KEYS, model), body[length:]
    violations = Violations()
    tensors: list[Named] = []
    for index, spec in enumerate(_objects(document, "inputs", violations)):
        at = f"inputs[{index}]"
        if _known_keys(spec, _INPUT_KEYS, at, violations):
            tensor, rest = _tensor(spec, rest, at, violations)
            tensors += [] if tensor is None else [tensor]
    if rest:
        violations.add("body", f"holds {len(rest)} bytes that no tensor's binary_data_size takes")
    wanted: dict[str, bool] = {}
    binary = _flag(document.get("parameters"), "binary_data_output", default=False)
    for index, spec in enumerate(_objects(document, "outputs", violations)):
        if _known_keys(spec, _OUTPUT_KEYS, f"outputs[{index}]", violations):
            wanted[str(spec.get("name"))] = _flag(spec.get("parameters"), "binary_data", default=binary)
    violations.check(model)
    return Asked(str(document.get("id") or ""), tensors, wanted, binary)


def read_index(body: bytes) -> bool:
    """Whether a request for the index in *body*, which may be empty, wants those models alone that can answer.

    Raises:
        InvalidInput: it is no such request.
    """
    ready = (read_object(body, _INDEX_KEYS, "") if body else {}).get("ready") or False
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
    parameters = (read_object(body, _LOAD_KEYS, model) if body else {}).get("parameters") or {}
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


def _objects(document: dict[str, Any], key: str, violations: Violations) -> Sequence[dict[str, Any]]:
    given = document.get(key) or []
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        violations.add(key, "must be an array of objects")
        return []
    return given


def _known_keys(spec: dict[str, Any], keys: Sequence[str], at: str, violations: Violations) -> bool:
    before = violations.count
    for key in spec:
        if key not in keys:
            violations.add(f"{at}.{key}"[:120], f"is no key here; there are {', '.join(keys)}", nearest(key, keys))
    if not isinstance(spec.get("name"), str) or not spec["name"]:
        violations.add(f"{at}.name", "is required and must be a string")
    parameters = spec.get("parameters") or {}
    if not isinstance(parameters, dict):
        violations.add(f"{at}.parameters", f"must be an object, not {kind(parameters)}")
    elif any(name.startswith("shared_memory") for name in parameters):
        violations.add(f"{at}.parameters.shared_memory_region", "shared memory is not offered: send the data")
    return violations.count == before


def _tensor(spec: dict[str, Any], rest: bytes, at: str, violations: Violations) -> tuple[Named | None, bytes]:
    """The tensor of *spec*, and what is left of the binary part."""
    shape, datatype = spec.get("shape"), spec.get("datatype")
    size = (spec.get("parameters") or {}).get("binary_data_size")
    if not isinstance(shape, list) or not all(type(each) is int and each >= 0 for each in shape):
        violations.add(f"{at}.shape", "is required and must be an array of whole numbers, 0 or more")
        return None, rest[size if isinstance(size, int) else 0 :]
    try:
        oip.dtype_of(str(datatype))
        if size is None:
            values = _from_json(str(datatype), shape, spec.get("data"))
        elif type(size) is not int or not 0 <= size <= len(rest):
            raise FrameError("", f"binary_data_size must be 0 to {len(rest)}, the bytes that are left")
        else:
            values, rest = oip.from_raw(str(datatype), shape, rest[:size]), rest[size:]
    except FrameError as error:
        violations.add(at, error.reason)
        return None, rest
    return Named(spec["name"], str(datatype), values), rest


def _from_json(datatype: str, shape: list[int], data: Any) -> Array:
    if not isinstance(data, list):
        raise FrameError("", f"data must be an array, not {kind(data)}")
    flat = _flat(data)
    if len(flat) != prod(shape):
        raise FrameError("", f"data holds {len(flat)} values where shape {shape} takes {prod(shape)}")
    kinds, dtype = set(map(type, flat)), oip.dtype_of(datatype)
    if kinds - _ALLOWED[dtype.kind]:
        raise FrameError("", f"data of datatype {datatype} holds {kind(next(v for v in flat if _odd(v, dtype)))}")
    if dtype.hasobject:
        return object_array([value.encode() for value in flat], tuple(shape))
    try:
        return np.array(flat, dtype).reshape(shape)
    except OverflowError:
        raise FrameError("", f"data holds a number that does not fit {datatype}") from None


def _odd(value: Any, dtype: np.dtype[Any]) -> bool:
    return type(value) not in _ALLOWED[dtype.kind]


_ALLOWED: dict[str, set[type]] = {"b": {bool}, "i": {int}, "u": {int}, "f": {int, float}, "O": {str}}


def _flat(data: list[Any]) -> list[Any]:
    while any(type(each) is list for each in data):
        data = [inner for each in data for inner in (each if type(each) is list else (each,))]
    return data


def _flag(parameters: Any, name: str, *, default: bool) -> bool:
    return bool(parameters.get(name, default)) if isinstance(parameters, dict) else default


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
