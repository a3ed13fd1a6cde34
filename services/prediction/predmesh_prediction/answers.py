"""What one request is answered: its rows out of the batches they travelled in, with ids, timings and degradations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from predmesh_bundle.schema import Bundle
from predmesh_frame import Frame, concat

from predmesh_prediction.batching import Part
from predmesh_prediction.graph import Degraded, Travelled

STAGES = ("queue", "features", "preprocessing", "inference", "explanation")
"""The stages whose timings an answer may hold, in order."""


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
    def microseconds(self) -> Iterator[tuple[str, int]]:
        """Stages and the time each took: the longest wait, and the sum over the batches of the work."""
        yield "queue", round(max(part.queued_seconds for part in self.parts) * 1e6)
        for stage in STAGES[1:]:
            if stage in self.parts[0].result.seconds:
                yield stage, round(sum(part.result.seconds.get(stage, 0.0) for part in self.parts) * 1e6)
