"""What one bundle has read from the online store, kept in this process for a short while, where it asks for that."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from predmesh_rpc.metrics import counter

from predmesh_features.domain import Ages, HashRead, HashValues, OnlineStore

_Place = tuple[int, bytes]
"""Number of the fields that are read, and the key."""


@dataclass(frozen=True, slots=True)
class CachedRead:
    """What `OnlineStore.read` answers, some of it earlier.

    Attributes:
        values: for each read, for each of its keys.
        ages: for each read, (keys,) seconds since each was asked of the store; 0 for what was asked now.
    """

    values: Sequence[Sequence[HashValues | None]]
    ages: Sequence[Ages]


@dataclass(slots=True)
class _Kept:
    """What is kept of one read: values and when they were read, None and now where *missing* has the place."""

    values: list[HashValues | None]
    times: list[float]
    missing: list[int]


class RowCache:
    """The rows used last, each as the store had it: what is stored is judged anew whenever it is used.

    How long ago a row was read is elapsed time, not the mesh's clock, which may stand still or be moved.
    """

    def __init__(
        self, max_age_seconds: float, max_rows: int, elapsed_seconds: Callable[[], float] = time.monotonic
    ) -> None:
        """Keep at most *max_rows* rows, each for at most *max_age_seconds*."""
        self._max_age_seconds = max_age_seconds
        self._max_rows = max_rows
        self._elapsed_seconds = elapsed_seconds
        self._rows: OrderedDict[_Place, tuple[float, HashValues]] = OrderedDict()
        self._numbers: dict[tuple[bytes, ...], int] = {}
        self._forgotten = 0
        reads = counter("predmesh_feature_cache_reads", "Rows asked of the cache of features.", ("outcome",))
        self._hits, self._misses = reads.labels("hit"), reads.labels("miss")

    def __len__(self) -> int:
        """Rows that are kept."""
        return len(self._rows)

    async def read(self, store: OnlineStore, reads: Sequence[HashRead]) -> CachedRead:
        """The rows that are kept, the others from *store*; raises what that raises, and only if it is needed."""
        now, forgotten = self._elapsed_seconds(), self._forgotten
        found = [self._kept(each, now) for each in reads]
        missing = [
            HashRead([each.keys[place] for place in kept.missing], each.fields)
            for each, kept in zip(reads, found, strict=True)
        ]
        misses = sum(len(each.keys) for each in missing)
        self._hits.inc(sum(len(each.keys) for each in reads) - misses)
        self._misses.inc(misses)
        if misses:
            for kept, asked, rows in zip(found, missing, await store.read(missing), strict=True):
                for place, row in zip(kept.missing, rows, strict=True):
                    kept.values[place] = row
                # What was forgotten meanwhile may have been read before it was written.
                if forgotten == self._forgotten:
                    self._keep(asked, rows, now)
        return CachedRead([kept.values for kept in found], [now - np.array(kept.times) for kept in found])

    def forget(self, keys: Iterable[bytes]) -> None:
        """Read the rows of *keys* anew: they have been written."""
        self._forgotten += 1
        for key in keys:
            for number in self._numbers.values():
                self._rows.pop((number, key), None)

    def _number(self, fields: tuple[bytes, ...]) -> int:
        return self._numbers.setdefault(fields, len(self._numbers))

    def _kept(self, read: HashRead, now: float) -> _Kept:
        rows, number, oldest = self._rows, self._number(read.fields), now - self._max_age_seconds
        kept = _Kept([], [], [])
        for key in read.keys:
            place = number, key
            row = rows.get(place)
            if row is None or row[0] < oldest:
                kept.missing.append(len(kept.values))
                kept.values.append(None)
                kept.times.append(now)
            else:
                rows.move_to_end(place)
                kept.values.append(row[1])
                kept.times.append(row[0])
        return kept

    def _keep(self, read: HashRead, found: Sequence[HashValues | None], now: float) -> None:
        number = self._number(read.fields)
        for key, values in zip(read.keys, found, strict=True):
            if values is not None:
                self._rows[number, key] = now, values
                self._rows.move_to_end((number, key))
        while len(self._rows) > self._max_rows:
            self._rows.popitem(last=False)
