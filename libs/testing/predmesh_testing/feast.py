"""Feast itself, in a process of its own: what it writes and reads is what ours must equal.

Its import takes seconds, turns Prometheus's client to files and warns a lot; none of that may reach the tests.
"""

from __future__ import annotations

import contextlib
import gc
import math
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from predmesh_bundle.feast_process import spare_type_checks

from predmesh_testing.generated_values import generated

Row = tuple[Mapping[str, Any], Mapping[str, Any], datetime]
"""Join keys, features and event time of one row; no join keys for a view without entities."""

Message = tuple[str, Any] | None
"""Field and value of one stored message of Feast, the whole message's bytes for a list, a map and the like; None where
it holds nothing."""


_PLAIN = (bool, int, float, str, bytes)

LIBS = Path(__file__).resolve().parents[2]


class FeastError(Exception):
    """What Feast raised, as text."""


class Feast:
    """One Feast repository over one Redis."""

    def __init__(self, commands: BinaryIO, answers: BinaryIO) -> None:
        """Speak to a `_Worker` by these."""
        self._commands = commands
        self._answers = answers

    def plan(self, service: str) -> str:
        """The read plan of a service, as JSON; FeastError with the problems where there is none."""
        return str(self._call("plan", service))

    def write(self, view: str, rows: Sequence[Row]) -> None:
        """Write rows by Feast's own write path."""
        self._call("write", view, rows)

    def read(self, service: str, entities: Mapping[str, list[Any]]) -> dict[str, list[Message]]:
        """Read a service by Feast's own read path: messages by feature."""
        return dict(self._call("read", service, dict(entities)))

    def key(self, view: str, join_keys: Mapping[str, Any]) -> bytes:
        """Feast's own key of one entity of a view."""
        return bytes(self._call("key", view, dict(join_keys)))

    def fill(self, kinds: Sequence[str], rows: int, time: datetime, seed: int) -> None:
        """Write generated values of value types by Feast's own write path, to entities 0 to *rows* of their views."""
        self._call("fill", list(kinds), rows, time, seed)

    def services(self) -> list[str]:
        """Names of the feature services."""
        return list(self._call("services"))

    def message_fields(self) -> set[tuple[str, str, int, str]]:
        """Every field of Feast's value and of the messages in it: message, name, number, type."""
        return set(self._call("message_fields"))

    def stored_types(self) -> dict[str, str]:
        """Feast's value types that no column holds, and why."""
        return dict(self._call("stored_types"))

    def read_costs(self, service: str, entities: Mapping[str, list[Any]], times: int) -> list[tuple[float, float]]:
        """Seconds that passed, and of CPU, for each of *times* reads."""
        return list(self._call("read_costs", service, dict(entities), times))

    def _call(self, name: str, *arguments: Any) -> Any:
        pickle.dump((name, arguments), self._commands)
        self._commands.flush()
        ok, answer = pickle.load(self._answers)  # noqa: S301
        if not ok:
            raise FeastError(answer)
        return answer


@contextlib.contextmanager
def running_feast(repo: Path, redis_address: str, python: str = sys.executable) -> Iterator[Feast]:
    """Feast with the definitions in *repo* and its values in the Redis at *redis_address*.

    The address is ``host:port``, several for a cluster. Another *python* may have another release of
    Feast, and needs nothing else.
    """
    command = [python, "-m", "predmesh_testing.feast", str(repo), redis_address]
    environment = {**os.environ, "FEAST_USAGE": "False", "PYTHONWARNINGS": "ignore", "PYTHONDONTWRITEBYTECODE": "1"}
    if python != sys.executable:
        environment["PYTHONPATH"] = os.pathsep.join(str(LIBS / name) for name in ("testing", "bundle"))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Feast(process.stdin, process.stdout)  # type: ignore[arg-type]
        finally:
            process.stdin.close()
            process.wait(20)


class _Worker:
    """The other end: runs in the process that has imported Feast."""

    def __init__(self, repo: Path, redis_address: str, scratch: Path) -> None:
        spare_type_checks()
        from feast import FeatureStore
        from predmesh_bundle.feast_repo import load

        self._contents, self._definitions = load(repo, scratch)
        config = self._definitions.config.model_copy(update={"online_config": _online(redis_address)})
        config._online_store = None
        self._store: Any = FeatureStore(config=config)
        self._row_keys: list[Any] = []

    def plan(self, service: str) -> str:
        from predmesh_bundle.feast_definitions import compile_service

        return compile_service(self._contents, self._definitions, service, None).to_json()

    def write(self, view: str, rows: Sequence[Row]) -> None:
        table = self._store.get_feature_view(view)
        data = [
            (self._entity_key(table, keys), self._messages(table, values), time, None) for keys, values, time in rows
        ]
        self._store._get_provider().online_write_batch(self._store.config, table, data, None)

    def read(self, service: str, entities: dict[str, list[Any]]) -> dict[str, list[Message]]:
        answer = self._store.get_online_features(self._store.get_feature_service(service), _rows(entities)).proto
        vectors = zip(answer.metadata.feature_names.val, answer.results, strict=True)
        return {name: [_message(value) for value in each.values] for name, each in vectors if name not in entities}

    def read_costs(self, service: str, entities: dict[str, list[Any]], times: int) -> list[tuple[float, float]]:
        found, rows, costs = self._store.get_feature_service(service), _rows(entities), []
        for _ in range(times):
            start, cpu = time.perf_counter(), time.process_time()
            _ = self._store.get_online_features(found, rows).proto
            costs.append((time.perf_counter() - start, time.process_time() - cpu))
        return costs

    def serve(self, port: int) -> None:
        """Feast's own feature server, as `feast serve` starts it, until the process ends."""
        self._store.serve(host="127.0.0.1", port=port, type_="http", no_access_log=True)

    def key(self, view: str, join_keys: dict[str, Any]) -> bytes:
        from feast.infra.online_stores.helpers import _redis_key

        key = self._entity_key(self._store.get_feature_view(view), join_keys)
        return bytes(_redis_key(self._store.project, key))

    def fill(self, kinds: Sequence[str], rows: int, time: datetime, seed: int) -> None:
        for kind in kinds:
            table = self._store.get_feature_view(f"of_{kind}")
            field = _field(kind)
            columns = {
                feature.name: _messages_of(field, generated(kind, rows, seed + place, feature.vector_length))
                for place, feature in enumerate(table.features)
            }
            if len(self._row_keys) != rows:  # All views have the same entity.
                self._row_keys = [self._entity_key(table, {"row": row}) for row in range(rows)]
            data = [
                (key, dict(zip(columns, values, strict=True)), time, None)
                for key, values in zip(self._row_keys, zip(*columns.values(), strict=True), strict=True)
            ]
            self._store._get_provider().online_write_batch(self._store.config, table, data, None)

    def services(self) -> list[str]:
        return [each.name for each in self._contents.feature_services]

    def message_fields(self) -> set[tuple[str, str, int, str]]:
        from feast.protos.feast.types.Value_pb2 import Value

        return message_fields(Value.DESCRIPTOR)

    def stored_types(self) -> dict[str, str]:
        from feast.value_type import ValueType
        from predmesh_bundle.feast_definitions import TYPES, refusal

        return {each.name: refusal(each) for each in ValueType if each not in TYPES}

    def _entity_key(self, table: Any, keys: Mapping[str, Any]) -> Any:
        from feast.protos.feast.types.EntityKey_pb2 import EntityKey

        keys = keys or {"__dummy_id": ""}
        values = self._messages(table, keys)
        return EntityKey(join_keys=list(values), entity_values=list(values.values()))

    def _messages(self, table: Any, values: Mapping[str, Any]) -> dict[str, Any]:
        types = {field.name: field.dtype.to_value_type() for field in [*table.entity_columns, *table.features]}
        return {name: _stored(value, types[name]) for name, value in values.items()}


def _stored(value: Any, type: Any) -> Any:
    from feast.protos.feast.types.Value_pb2 import Value
    from feast.type_map import python_values_to_proto_values

    if isinstance(value, float) and math.isnan(value):  # Feast's own conversion takes NaN for null.
        return Value(float_val=value) if type.name == "FLOAT" else Value(double_val=value)
    return python_values_to_proto_values([value], type)[0]


def _message(value: Any) -> Message:
    field = value.WhichOneof("val")
    if field is None:
        return None
    found = getattr(value, field)
    return field, found if isinstance(found, _PLAIN) else value.SerializeToString()


def message_fields(descriptor: Any) -> set[tuple[str, str, int, str]]:
    """Every field of a message and of the messages in it, their names without ``Stored``; integers are all alike."""
    found, waiting = set(), [descriptor]
    while waiting:
        message = waiting.pop()
        for field in message.fields:
            kind = field.message_type.full_name if field.message_type else _KINDS.get(field.type, field.type)
            place = (message.full_name, field.name, field.number, str(kind))
            if place not in found and field.message_type:
                waiting.append(field.message_type)
            found.add(place)
    return found


_KINDS = {3: 5, 14: 5}
"""Kinds of fields that are the same on the wire: 64-bit integers and enums are as 32-bit ones."""


def _field(kind: str) -> str:
    """Field of a value that holds the value type *kind*."""
    named = {"value_list": "list_val", "value_set": "set_val", "pdf_bytes": "bytes_val", "image_bytes": "bytes_val"}
    return named.get(kind, f"{kind}_val")


def _messages_of(field: str, values: Sequence[Any]) -> list[Any]:
    """Feast's messages of generated values."""
    from feast.protos.feast.types.Value_pb2 import Value

    if field in _NESTED or field.endswith(("map_list_val", "struct_list_val")):
        return [_made(field, value) for value in values]
    if field.endswith(("_list_val", "_set_val")):
        lists: Any = ({field: {"val": value}} for value in values)
        return [Value() if value is None else Value(**each) for each, value in zip(lists, values, strict=True)]
    return [Value() if value is None else Value(**{field: value}) for value in values]


_NESTED = frozenset(("map_val", "struct_val", "scalar_map_val", "zoned_timestamp_val", "list_val", "set_val"))


def _made(field: str, value: Any) -> Any:
    """Feast's message of a generated value, whatever is in it."""
    from feast.protos.feast.types.Value_pb2 import Value

    message = Value()
    if value is not None:
        _put(message, field, value)
    return message


def _put(message: Any, field: str, value: Any) -> None:
    if isinstance(value, _PLAIN):
        setattr(message, field, value)
        return
    inner = getattr(message, field)
    inner.SetInParent()
    if field == "zoned_timestamp_val":
        inner.unix_timestamp, inner.zone = value
    elif isinstance(value, dict):
        _put_map(inner, value)
    elif field in ("map_list_val", "struct_list_val"):
        for each in value:
            _put_map(inner.val.add(), each)
    elif field == "scalar_map_val":
        for (kind, key), typed in value:
            entry = inner.val.add()
            setattr(entry.key, kind, key)
            _put_typed(entry.value, typed)
    elif field in ("list_val", "set_val"):
        for each in value:
            _put_typed(inner.val.add(), each)
    else:
        inner.val.extend(value)


def _put_map(message: Any, values: Mapping[str, Any]) -> None:
    for key, typed in values.items():
        _put_typed(message.val[key], typed)


def _put_typed(message: Any, typed: Any) -> None:
    """Fill in a message that is in another; it is there, though it be null."""
    if typed is None or typed[1] is None:
        message.SetInParent()
    else:
        _put(message, *typed)


def _online(redis_address: str) -> dict[str, str]:
    kind = "redis_cluster" if "," in redis_address else "redis"
    return {"type": "redis", "redis_type": kind, "connection_string": redis_address}


def _rows(entities: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(entities, row, strict=True)) for row in zip(*entities.values(), strict=True)]


def _main(repo: str, redis_address: str, port: str = "") -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # Feast prints.
    with tempfile.TemporaryDirectory() as scratch:
        worker = _Worker(Path(repo), redis_address, Path(scratch))
        if port:
            worker.serve(int(port))
            return
        gc.freeze()  # Feast's own hundred thousands of objects stay: nobody need look at them again and again.
        while True:
            try:
                name, arguments = pickle.load(sys.stdin.buffer)  # noqa: S301
            except EOFError:
                return
            try:
                answer = (True, getattr(worker, name)(*arguments))
            except Exception as error:
                answer = (False, f"{type(error).__name__}: {error}")
            pickle.dump(answer, answers)
            answers.flush()


if __name__ == "__main__":
    _main(*sys.argv[1:])
