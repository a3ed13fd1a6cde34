"""Ray Serve with request batching: `python -m loadtests.peers.ray.server`."""

# mypy: disable-error-code="import-not-found,untyped-decorator,attr-defined"

from __future__ import annotations

import os
from typing import Any

import ray
from ray import serve
from starlette.requests import Request

from loadtests.peers.shared.flight_delay import FlightDelay

OBJECT_STORE_BYTES = 80 << 20
"""The least that Ray takes; requests do not pass through it."""

HOST = "127.0.0.1"
NODE = "127.0.0.1"
"""Where Ray's own processes listen; it replaces 127.0.0.1 by an address that others may reach."""

LOGGING = {"enable_access_log": False}


@serve.deployment(
    num_replicas=int(os.environ["PEER_WORKERS"]),
    ray_actor_options={"num_cpus": 0.5},
    max_ongoing_requests=256,
    logging_config=LOGGING,
)
class FlightDelayDeployment:
    """Predicts flights."""

    def __init__(self) -> None:
        self._flight_delay = FlightDelay.from_environment()

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=float(os.environ["PEER_WAIT_SECONDS"]))
    async def predict(self, requests: list[list[dict[str, Any]]]) -> list[list[float]]:
        """The rows of several requests at once."""
        return self._flight_delay.predict_many(requests)

    async def __call__(self, request: Request) -> dict[str, list[float]]:
        """Answers one request."""
        body = await request.json()
        return {"predictions": await self.predict(body["instances"])}


def main() -> None:
    """Serves until it is ended."""
    ray.init(
        num_cpus=2,
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        _node_ip_address=NODE,
        _temp_dir=os.environ["PEER_SCRATCH"],
    )
    serve.start(http_options={"host": HOST, "port": int(os.environ["PEER_PORT"])}, logging_config=LOGGING)
    serve.run(FlightDelayDeployment.bind(), route_prefix="/predict", blocking=True)


if __name__ == "__main__":
    main()
