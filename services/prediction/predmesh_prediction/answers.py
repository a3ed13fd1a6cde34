"""What one request is answered: its rows out of the batches they travelled in, with ids, timings and degradations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from predmesh_bundle.schema import Bundle
from predmesh_frame import Frame, concat

from predmesh_prediction.batching import Part
from predmesh_prediction.graph import Degraded, Travelled


@dataclass(frozen=True, slots=True)
class Answer:
    """The predictions of one request."""

    bundle: Bundle
    bundle_id: str
    request_id: str
    parts: Sequence[Part[Travelled]]
    rows: int

    @property
    def predictions(self) -> list[dict[str, Any]]:
        """One JSON object a row, from output name to value."""
        if len(self.parts) == 1:
            part = self.parts[0]
            return part.result.records[part.start : part.stop]
        return [record for part in self.parts for record in part.result.records[part.start : part.stop]]

    @property
    def columns(self) -> Frame:
        """The outputs as columns."""
        return concat([part.result.outputs.take(slice(part.start, part.stop)) for part in self.parts])

    @property
    def prediction_ids(self) -> list[str]:
        """One a row; the same when the request is sent again under its id."""
        return [f"{self.request_id}-{row}" for row in range(self.rows)]

    @property
    def degraded(self) -> list[Degraded]:
        """What was degraded in any of the batches, each once."""
        return list(dict.fromkeys(each for part in self.parts for each in part.result.degraded))

    @property
    def microseconds(self) -> dict[str, int]:
        """Time that each stage took, in order: the longest wait, and the sum over the batches of the work."""
        if len(self.parts) == 1:
            (part,) = self.parts
            return {"queue": round(part.queued_seconds * 1e6)} | part.result.microseconds
        took = {"queue": round(max(part.queued_seconds for part in self.parts) * 1e6)}
        for part in self.parts:
            for stage, microseconds in part.result.microseconds.items():
                took[stage] = took.get(stage, 0) + microseconds
        return took
