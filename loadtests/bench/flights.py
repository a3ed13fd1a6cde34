"""The rows that load tests ask about: real flights, every one another, so that nobody gains by remembering answers."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from examples.flights import raw

Row = dict[str, Any]

MODEL = "flight-delay"
COLUMNS = ("carrier", "origin", "dest", "tailnum", "scheduled_departure", "distance_miles")


@functools.cache
def _read() -> list[Row]:
    table = raw.read_flights(raw.data_folder()).sort("scheduled_departure", "flight_id", descending=True)
    rows = table.head(20_000).select(COLUMNS).to_dicts()
    for row in rows:
        row["scheduled_departure"] = row["scheduled_departure"].isoformat()
        if row["tailnum"] is None:
            del row["tailnum"]
    return rows


def flights(count: int) -> list[Row]:
    """The last *count* flights of 2013, at most 20,000, newest first, as the bundle's inputs name their values."""
    rows = _read()
    if not 1 <= count <= len(rows):
        raise ValueError(f"there are 1 to {len(rows):,} flights, not {count:,}")
    return [dict(row) for row in rows[:count]]


def requests(rows: int, count: int = 2000) -> list[list[Row]]:
    """Up to *count* requests of *rows* flights each; no flight is in two."""
    pool = flights(min(rows * count, len(_read())))
    return [pool[start : start + rows] for start in range(0, len(pool) - rows + 1, rows)]


def rest_body(rows: Sequence[Row]) -> dict[str, Any]:
    """The body of `POST /v1/models/{model}:predict`; TF Serving, KServe and Vertex take the same."""
    return {"instances": list(rows)}


def grpc_message(rows: Sequence[Row], model: str = MODEL) -> dict[str, Any]:
    """A PredictRequest as JSON."""
    return {"model": model, **rest_body(rows)}
