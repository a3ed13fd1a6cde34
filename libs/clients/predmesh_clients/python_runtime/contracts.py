"""The contracts of this package's models, in a descriptor pool of their own.

Other packages of clients, and programs that have the mesh's own stubs, may hold other versions of the same messages.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def message_class(name: str) -> Any:
    """The class of the message of that full name."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(name))


def enum_name(name: str, number: int) -> str:
    """Name of a number of the enum of that full name; empty where this package does not know it."""
    value = _pool().FindEnumTypeByName(name).values_by_number.get(number)
    return "" if value is None else str(value.name)


def from_time(time: datetime | None) -> Any:
    """The Timestamp of *time*, which must say its zone; None of None.

    Raises:
        ValueError: it does not say its zone.
    """
    if time is None:
        return None
    if time.tzinfo is None:
        raise ValueError(f"{time.isoformat()} has no time zone: make it with tzinfo=")
    message = message_class("google.protobuf.Timestamp")()
    message.seconds, rest = divmod(time - _EPOCH, timedelta(seconds=1))
    message.nanos = rest // timedelta(microseconds=1) * 1000
    return message


def to_time(message: Any) -> datetime:
    """The time of a Timestamp, in UTC, cut to microseconds."""
    return _EPOCH + timedelta(seconds=message.seconds, microseconds=message.nanos // 1000)


def to_duration(message: Any) -> timedelta:
    """The time span of a Duration, cut to microseconds."""
    return timedelta(seconds=message.seconds, microseconds=int(message.nanos / 1000))


@cache
def _pool() -> Any:
    pool: Any = descriptor_pool.DescriptorPool()
    published = descriptor_pb2.FileDescriptorSet.FromString((files(__package__) / "contracts.binpb").read_bytes())
    for each in published.file:
        pool.AddSerializedFile(each.SerializeToString())
    return pool
