"""How a request of a stream fails: in-band, so that the stream goes on."""

from __future__ import annotations

import logging

from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh_rpc.edge import internal, let_go
from predmesh_rpc.errors import PredmeshError
from predmesh_rpc.status import code_of

log = logging.getLogger(__name__)


def stream_error(error: Exception, request_id: str) -> pb.StreamError:
    """What the caller is told of *error*; of an unexpected one, where to look."""
    told = error
    if not isinstance(told, PredmeshError):
        log.error("a request of a stream failed", exc_info=error, extra={"request_id": request_id})
        told = internal(request_id)
    let_go(error)
    return pb.StreamError(code=code_of(told).value[0], message=told.message, reason=told.reason)
