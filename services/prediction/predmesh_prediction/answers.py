"""What one request is answered: its rows out of the batches they travelled in, with ids, timings and degradations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from predmesh_bundle.schema import Bundle
from predmesh_frame import Frame, concat

from predmesh_prediction.batching import Part
from predmesh_prediction.graph import Degraded, Travelled

_Encoded = TypeVar("_Encoded")


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
        if self.rows == 1:
            return [self.request_id + "-0"]
        return [f"{self.request_id}-{row}" for row in range(self.rows)]

    @property
    def degraded(self) -> list[Degraded]:
        """What was degraded in any of the batches, each once."""
        if len(self.parts) == 1:
            return self.parts[0].result.degraded
        return list(dict.fromkeys(each for part in self.parts for each in part.result.degraded))

    @property
    def queued_microseconds(self) -> int:
        """Time that the request waited before its rows left; the longest wait of any."""
        return round(max(part.queued_seconds for part in self.parts) * 1e6)

    @property
    def read_age_microseconds(self) -> int:
        """How long ago features were read from the online store, at most; 0 when all were read for the answer."""
        return round(max(part.result.read_age_seconds for part in self.parts) * 1e6)

    @property
    def microseconds(self) -> dict[str, int]:
        """Time that each stage worked, in order, summed over the batches."""
        took: dict[str, int] = {}
        for part in self.parts:
            for stage, microseconds in part.result.microseconds.items():
                took[stage] = took.get(stage, 0) + microseconds
        return took

    def once(self, encoder: str, encode: Callable[[dict[str, int]], _Encoded]) -> _Encoded:
        """What *encode* makes of `microseconds`; worked out once for all answers of one batch."""
        if len(self.parts) > 1:
            return encode(self.microseconds)
        batch = self.parts[0].result
        if encoder not in batch.encoded:
            batch.encoded[encoder] = encode(batch.microseconds)
        return batch.encoded[encoder]  # type: ignore[no-any-return]
