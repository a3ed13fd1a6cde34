"""LitServe with batching: `python -m loadtests.peers.litserve.server`."""

# mypy: disable-error-code="import-not-found,misc"

from __future__ import annotations

import os
from typing import Any

import litserve

from loadtests.peers.shared.flight_delay import FlightDelay

Rows = list[dict[str, Any]]


class FlightDelayAPI(litserve.LitAPI):
    """Predicts flights."""

    def setup(self, device: str) -> None:
        """Loads once a worker."""
        self._flight_delay = FlightDelay.from_environment()

    # Without annotations, as LitServe's documentation has it: with them it would make FastAPI validate by them.
    def decode_request(self, request):  # type: ignore[no-untyped-def]
        """The rows of one request."""
        return request["instances"]

    def batch(self, inputs: list[Rows]) -> list[Rows]:
        """Several requests; they are joined in predict, where their lengths are needed."""
        return inputs

    def predict(self, requests: list[Rows]) -> list[list[float]]:
        """The rows of several requests at once."""
        return self._flight_delay.predict_many(requests)

    def unbatch(self, output: list[list[float]]) -> list[list[float]]:
        """An answer a request."""
        return output

    def encode_response(self, output):  # type: ignore[no-untyped-def]
        """One answer."""
        return {"predictions": output}


def main() -> None:
    """Serves until it is ended."""
    api = FlightDelayAPI(max_batch_size=64, batch_timeout=float(os.environ["PEER_WAIT_SECONDS"]))
    server = litserve.LitServer(
        api,
        accelerator="cpu",
        workers_per_device=int(os.environ["PEER_WORKERS"]),
        fast_queue=os.environ["PEER_FAST_QUEUE"] == "1",
    )
    port = int(os.environ["PEER_PORT"])
    server.run(host="127.0.0.1", port=port, log_level="warning", access_log=False, generate_client_file=False)


if __name__ == "__main__":
    main()
