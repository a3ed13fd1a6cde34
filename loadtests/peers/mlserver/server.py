"""MLServer with a custom runtime and adaptive batching: `mlserver start loadtests/peers/mlserver/model`."""

# mypy: disable-error-code="import-not-found,misc,untyped-decorator"

from typing import List  # noqa: UP035 (MLServer's codecs look for this one)

import numpy as np
from mlserver import MLModel
from mlserver.codecs import decode_args

from loadtests.peers.shared.flight_delay import FlightDelay


class FlightDelayModel(MLModel):
    """Predicts flights that come as one tensor an input."""

    async def load(self) -> bool:
        """Loads once a worker."""
        self._flight_delay = FlightDelay.from_environment()
        return True

    @decode_args
    async def predict(
        self,
        carrier: List[str],  # noqa: UP006
        origin: List[str],  # noqa: UP006
        dest: List[str],  # noqa: UP006
        tailnum: List[str],  # noqa: UP006
        scheduled_departure: List[str],  # noqa: UP006
        distance_miles: np.ndarray,
    ) -> np.ndarray:
        """The rows of several requests at once."""
        names = ("carrier", "origin", "dest", "tailnum", "scheduled_departure", "distance_miles")
        columns = (carrier, origin, dest, tailnum, scheduled_departure, distance_miles.ravel().tolist())
        rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        return np.array(self._flight_delay.predict(rows))
