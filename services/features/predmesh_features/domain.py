"""What a lookup is, and the rules that say which stored values can be trusted; no I/O."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from predmesh_frame.columns import Column, DataType

Array = npt.NDArray[Any]
"""Values of any element type."""

States = npt.NDArray[np.uint8]
"""Statuses, each a `Status`."""

Instants = npt.NDArray[np.int64]
"""Microseconds since 1970-01-01T00:00:00Z; `NEVER` where there is none."""

Ages = npt.NDArray[np.float64]
"""Seconds; NaN for what is not there."""

NEVER = np.iinfo(np.int64).min
"""Event time of an entity that is not in the store."""


class Status(enum.IntEnum):
    """Whether a value can be trusted; the numbers are those of ``predmesh.features.v1.ValueStatus``."""

    PRESENT = 1
    NULL = 2
    NOT_FOUND = 3
    OUTSIDE_MAX_AGE = 4
    UNAVAILABLE = 5


_NOT_FOUND, _OUTSIDE = np.uint8(Status.NOT_FOUND), np.uint8(Status.OUTSIDE_MAX_AGE)


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

    async def read(self, reads: Sequence[HashRead]) -> Sequence[Sequence[HashValues | None]]:
        """For each read, for each of its keys, the values, or None where the server that has them does not answer.

        Raises:
            DependencyDown: no server answers.
        """
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


@dataclass(frozen=True, slots=True, eq=False)
class FeatureBlock:
    """Features of one type of every asked row.

    Attributes:
        names: of the features.
        views: feature view of each.
        type: of every value.
        values: (features, rows) as `FeatureColumn.column` holds them.
        valid: (features, rows) false where there is neither a value to be trusted nor a default; None when nowhere.
        statuses: (features, rows); None when all are PRESENT.
    """

    names: tuple[str, ...]
    views: tuple[str, ...]
    type: DataType
    values: Array
    valid: npt.NDArray[np.bool_] | None
    statuses: States | None

    def features(self) -> Iterator[FeatureColumn]:
        """Each feature by itself."""
        present = np.full(self.values.shape[1], Status.PRESENT, dtype=np.uint8)
        for index, (name, view) in enumerate(zip(self.names, self.views, strict=True)):
            valid = None if self.valid is None or self.valid[index].all() else self.valid[index]
            states = present if self.statuses is None else self.statuses[index]
            yield FeatureColumn(name, view, Column(self.type, self.values[index], valid), states)

    def only(self, wanted: npt.NDArray[np.intp] | None) -> FeatureBlock:
        """The features at the positions *wanted*; all where that is None."""
        if wanted is None:
            return self
        return FeatureBlock(
            tuple(self.names[index] for index in wanted),
            tuple(self.views[index] for index in wanted),
            self.type,
            self.values[wanted],
            None if self.valid is None else self.valid[wanted],
            None if self.statuses is None else self.statuses[wanted],
        )


@dataclass(frozen=True, slots=True)
class StoredFeature:
    """One feature of every asked row, as the store has it.

    Attributes:
        name: of the feature.
        messages: the store's own message of each row, an empty one where the status is not PRESENT.
        statuses: one a row.
    """

    name: str
    messages: Sequence[Any]
    statuses: States


@dataclass(frozen=True, slots=True)
class Lookup:
    """What the store and the on-demand views say of the asked rows.

    Attributes:
        rows: number of rows.
        blocks: what the store holds of single values, by type.
        single: what stands alone: lists, and what on-demand views made.
        stored: what no column can hold.
        order: names of all features that are columns, in the order of the feature service.
        views: names of the feature views.
        ages: (views, rows) seconds; NaN where the entity is not in the store.
        clock_time: when ages were judged.
        read_ages: (views, rows) seconds since the values were read from the store; None when all were read for this.
    """

    rows: int
    blocks: Sequence[FeatureBlock]
    single: Sequence[FeatureColumn]
    stored: Sequence[StoredFeature]
    order: Sequence[str]
    views: Sequence[str]
    ages: Ages
    clock_time: datetime
    read_ages: Ages | None = None

    @property
    def features(self) -> list[FeatureColumn]:
        """One by one, in the order of the feature service."""
        found = {each.name: each for block in self.blocks for each in block.features()}
        found |= {each.name: each for each in self.single}
        return [found[name] for name in self.order]

    @property
    def age_seconds(self) -> dict[str, Ages]:
        """(rows,) ages by feature view."""
        return dict(zip(self.views, self.ages, strict=True))


def ages(events: Instants, now: int) -> Ages:
    """Seconds from each event to *now* (microseconds); NaN where there was none, negative for one still to come."""
    never = events == NEVER
    # Subtracting in floats: the distance between two instants may be more than 64 bits hold.
    return np.where(never, np.nan, (float(now) - events.astype(np.float64)) / 1e6)


def judged(states: States, age_seconds: Ages, max_age_seconds: Ages | float | None) -> States:
    """The *states* of stored values (…, rows) once their ages, and how old they may be, are known."""
    found = np.where(np.isnan(age_seconds), _NOT_FOUND, states)
    if max_age_seconds is None:
        return found
    old = (age_seconds > max_age_seconds) & (found != _NOT_FOUND)
    return np.where(old, _OUTSIDE, found)


def youngest(*limits: float | None) -> float | None:
    """The smallest of the given limits; None when there is none."""
    return min((limit for limit in limits if limit is not None), default=None)


def newer(event_nanos: int, stored_nanos: int) -> bool:
    """Whether a row may replace what is stored, as Feast decides it: 0 stands for nothing stored."""
    return not stored_nanos or event_nanos > stored_nanos
