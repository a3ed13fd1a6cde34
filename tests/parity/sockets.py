"""Rows as messages of a WebSocket, each answered by one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.parity.golden import Case
from tests.parity.messages import Said
from tests.parity.outcomes import CODES, Outcome
from tests.parity.rest import document_outcome, generic_row, row_outcome, row_text, stream_path, typed_row
from tests.parity.wire import SWITCHED, Reply, Shot


@dataclass(frozen=True)
class Socket:
    """A WebSocket; *told* reads the answer of a row."""

    name: str
    path: str
    told: Callable[[Any], Said]

    def ask(self, case: Case) -> Shot:
        """The messages."""
        path, rows = stream_path(self.path, case), tuple(map(row_text, case.rows))
        return Shot("socket", path, rows, streams=True, cancel_after=case.cancel_after)

    def read(self, case: Case, reply: Reply) -> list[Outcome]:
        """What came of each row."""
        if reply.code is not None:
            return [Outcome(CODES[reply.code], None, None)]
        if reply.status != SWITCHED:
            return [document_outcome(reply.bodies[0], len(case.rows), reply.status)]
        return [row_outcome(index, json.loads(each), self.told) for index, each in enumerate(reply.bodies)]


SOCKETS = [
    Socket("generic socket stream", "/v1/models/{}{}:streamPredict", generic_row),
    Socket("typed socket stream", "/v1/models/{}{}/typed:streamPredict", typed_row),
]
"""The faces of WebSockets."""
