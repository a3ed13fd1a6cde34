"""What operators see of a bundle's batches."""

from __future__ import annotations

from collections.abc import Callable

from predmesh_rpc import metrics

_LABELS = ("batches",)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 10_000)


class BatchMetrics:
    """The instruments of one queue; their label is its name."""

    def __init__(
        self, name: str, *, queued: Callable[[], float], travelling: Callable[[], float], allowed: Callable[[], float]
    ) -> None:
        self._name = name
        self._waited = metrics.histogram(
            "predmesh_prediction_queue_seconds", "Longest wait of a request of a batch.", _LABELS
        )
        self._rows = metrics.histogram("predmesh_prediction_batch_rows", "Rows of a batch.", _LABELS, _ROWS)
        self._gauges = {
            metrics.gauge("predmesh_prediction_queued_rows", "Rows that wait.", _LABELS): queued,
            metrics.gauge("predmesh_prediction_batches_in_flight", "Batches that travel.", _LABELS): travelling,
            metrics.gauge("predmesh_prediction_batches_allowed", "Batches that may travel.", _LABELS): allowed,
        }
        for gauge, read in self._gauges.items():
            gauge.labels(name).set_function(read)
        self._observe_wait = self._waited.labels(name).observe
        self._observe_rows = self._rows.labels(name).observe

    def left(self, rows: int, waited_seconds: float) -> None:
        """Count a batch of *rows* rows whose first request waited so long."""
        self._observe_rows(rows)
        self._observe_wait(waited_seconds)

    def forget(self) -> None:
        """Show no more of it."""
        for each in (self._waited, self._rows, *self._gauges):
            each.remove(self._name)
