"""What a lookup is, and the rules that say which stored values can be trusted; no I/O."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from predmesh_frame.columns import Column

Array = npt.NDArray[Any]
"""Values of any element type."""

States = npt.NDArray[np.uint8]
"""Statuses, each a `Status`."""

Instants = npt.NDArray[np.int64]
"""Microseconds since 1970-01-01T00:00:00Z; `NEVER` where there is none."""

NEVER = np.iinfo(np.int64).min
"""Event time of an entity that is not in the store."""


class Status(enum.IntEnum):
    """Whether a value can be trusted; the numbers are those of ``predmesh.features.v1.ValueStatus``."""

    PRESENT = 1
    NULL = 2
    NOT_FOUND = 3
    OUTSIDE_MAX_AGE = 4
    UNAVAILABLE = 5


@dataclass(frozen=True, slots=True)
class HashRead:
    """The same fields of several hashes.

    Attributes:
        keys: of the hashes, each once.
        fields: names of the fields.
    """

    keys: Sequence[bytes]
    fields: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class HashWrite:
    """New values of one hash, which hold from one event time on.

    Attributes:
        key: of the hash.
        stamp: field that holds the event time.
        event_nanos: the event time, nanoseconds since 1970-01-01T00:00:00Z.
        fields: what to write, `stamp` included.
        expire_seconds: the store forgets the hash that long after; None for never.
    """

    key: bytes
    stamp: bytes
    event_nanos: int
    fields: Mapping[bytes, bytes]
    expire_seconds: int | None = None


HashValues = Sequence[bytes | None]
"""Values of the asked fields in order, None where the hash has no such field."""


class OnlineStore(Protocol):
    """Where feature values are kept: hashes by key, in Feast's layout."""

    async def read(self, reads: Sequence[HashRead]) -> list[Sequence[HashValues]]:
        """For each read, for each of its keys, the values; raises DependencyDown."""
        ...

    async def write(self, writes: Sequence[HashWrite]) -> list[bool]:
        """Write in order; False for each that is not newer than what the hash holds by then; raises DependencyDown."""
        ...

    async def ping(self) -> None:
        """Return when the store answers; raises DependencyDown."""
        ...


@dataclass(frozen=True, slots=True)
class FeatureColumn:
    """One feature of every asked row.

    Attributes:
        name: of the feature.
        view: feature view it comes from.
        column: the stored value where the status is PRESENT, else the declared default, else absent.
        statuses: one a row.
    """

    name: str
    view: str
    column: Column
    statuses: States


@dataclass(frozen=True, slots=True)
class Lookup:
    """What the store and the on-demand views say of the asked rows.

    Attributes:
        rows: number of rows.
        features: in the order of the feature service.
        age_seconds: (rows,) by feature view; NaN where the entity is not in the store.
        clock_time: when ages were judged.
    """

    rows: int
    features: Sequence[FeatureColumn]
    age_seconds: Mapping[str, npt.NDArray[np.float64]]
    clock_time: datetime


def ages(events: Instants, now: int) -> npt.NDArray[np.float64]:
    """Seconds from each event to *now* (microseconds); NaN where there was none, negative for one still to come."""
    never = events == NEVER
    # Subtracting in floats: the distance between two instants may be more than 64 bits hold.
    return np.where(never, np.nan, (float(now) - events.astype(np.float64)) / 1e6)


def judged(states: States, age_seconds: npt.NDArray[np.float64], max_age_seconds: float | None) -> States:
    """The *states* of stored values (…, rows) once the ages (rows,) of their rows are known."""
    found = np.where(np.isnan(age_seconds), np.uint8(Status.NOT_FOUND), states)
    if max_age_seconds is None:
        return found
    old = (age_seconds > max_age_seconds) & (found != Status.NOT_FOUND)
    return np.where(old, np.uint8(Status.OUTSIDE_MAX_AGE), found)


def youngest(*limits: float | None) -> float | None:
    """The smallest of the given limits; None when there is none."""
    return min((limit for limit in limits if limit is not None), default=None)


def newer(event_nanos: int, stored_nanos: int) -> bool:
    """Whether a row may replace what is stored, as Feast decides it: 0 stands for nothing stored."""
    return not stored_nanos or event_nanos > stored_nanos
