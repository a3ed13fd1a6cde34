"""The numbers that the trees read; it naps, or fails, where it is told to."""

import time

import numpy as np


class Prepare:
    """Puts them side by side."""

    def __init__(self, folder): ...

    def transform(self, frame):
        """The table of *frame*, (rows, 7); NaN where a value was not given."""
        columns = frame.columns
        time.sleep(columns["nap_ms"].values.max() / 1000)
        if columns["fails"].values.any():
            raise ValueError("it was told to fail")
        maybe, triple = columns["maybe_precise"], columns["triple"]
        with np.errstate(over="ignore"):
            parts = [columns[name].values.astype(np.float32) for name in ("small", "wide", "single", "precise")]
            parts.append((columns["kind"].values == "très cher").astype(np.float32))
            parts.append(np.where(maybe.mask, maybe.values, np.nan).astype(np.float32))
            parts.append(np.where(triple.mask, triple.values[:, 1], np.nan).astype(np.float32))
        return {"x": np.stack(parts, axis=1)}
