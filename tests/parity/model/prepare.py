"""The inputs as tensors, and which of them were given."""

import numpy as np

KINDS = ("red", "green", "très cher")
OPTIONAL = (
    *("triple", "moods", "maybe_flag", "maybe_wide", "maybe_precise", "maybe_text"),
    *("maybe_blob", "maybe_moment", "patient"),
)
AS_IT_IS = (
    *("flag", "small", "wide", "single", "precise", "text", "blob", "moment", "level", "grid", "moods"),
    *("divisor", "nap_ms", "fails"),
)


class Prepare:
    """Hands on what it gets."""

    def __init__(self, folder): ...

    def transform(self, frame):
        """The tensors of *frame*."""
        columns = frame.columns
        triple = columns["triple"]
        there = [" ".join(name for name in OPTIONAL if columns[name].mask[row]) for row in range(frame.rows)]
        given = np.empty(frame.rows, object)
        given[:] = there
        return {
            **{name: columns[name].values for name in AS_IT_IS},
            "kind": np.array([KINDS.index(each) for each in columns["kind"].values], np.int64),
            "triple": np.where(triple.mask[:, None], triple.values, np.nan).astype(np.float32),
            "given": given,
        }
