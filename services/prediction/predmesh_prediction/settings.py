"""What an operator may change about predictions."""

from __future__ import annotations

from predmesh_bundle.schema import Stage
from predmesh_rpc.settings import ServiceSettings
from pydantic import Field


class Settings(ServiceSettings):
    """Settings of the prediction service, from ``PREDICTION_…`` and ``PREDMESH_…``."""

    features_address: str = Field(default_factory=lambda data: f"unix:{data['home'] / 'run'}/features.sock")
    """Where the features service listens."""

    preprocessing_address: str = Field(default_factory=lambda data: f"unix:{data['home'] / 'run'}/preprocessing.sock")
    """Where the preprocessing service listens."""

    explanation_address: str = Field(default_factory=lambda data: f"unix:{data['home'] / 'run'}/explanation.sock")
    """Where the explanation service listens."""

    triton_address: str = "127.0.0.1:8001"
    """Where the model server speaks the Open Inference Protocol over gRPC; on this machine best ``h2+unix:/path``."""

    features_remote: str = ""
    """Features elsewhere, for bundles that say ``remote``: ``host:port``, or several ``ip:port`` with commas."""

    preprocessing_remote: str = ""
    """Preprocessing elsewhere, as `features_remote`."""

    inference_remote: str = ""
    """A model server elsewhere that speaks the Open Inference Protocol over gRPC, as `features_remote`."""

    explanation_remote: str = ""
    """Explanation elsewhere, as `features_remote`."""

    default_deadline_seconds: float = Field(default=10.0, gt=0)
    """Time allowed to a call whose caller set no deadline; what ends it earlier is the budget of its bundle."""

    max_batch_rows: int = Field(default=1024, ge=1)
    """Rows of one batch, where the bundle allows as many."""

    max_queue_rows: int = Field(default=20_000, ge=10_000)
    """Rows of one bundle that may wait; at least one full request."""

    max_queue_bytes: int = Field(default=256 * 1024 * 1024, gt=0)
    """Bytes of one bundle's rows that may wait, by the declared types and shapes; a text counts as 64."""

    batches_in_flight: int = Field(default=8, ge=1)
    """Most batches of one bundle that travel at once; how many of them do follows from how requests fare."""

    stream_window: int = Field(default=32, ge=1)
    """Requests of one stream that are worked on at once."""

    drain_seconds: float = Field(default=5.0, ge=0)
    """Time that a bundle stays loaded after the routes have left it."""

    # A message holds a body of 4 MiB and the names around it; the body itself is checked with its own reason.
    max_message_bytes: int = Field(default=5 * 1024 * 1024, gt=0)
    """Longest request message taken."""

    def local_address(self, stage: Stage) -> str:
        """Where *stage* listens on this machine."""
        address: str = self.triton_address if stage == "inference" else getattr(self, f"{stage}_address")
        return address

    def remote_address(self, stage: Stage) -> str:
        """Where *stage* listens elsewhere; empty where it does not."""
        address: str = getattr(self, f"{stage}_remote")
        return address
