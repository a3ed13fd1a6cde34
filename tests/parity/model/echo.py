"""A model that gives back what it gets; it naps, or fails, where it is told to."""

import time

import numpy as np


class Model:
    """Gives back its tensors."""

    def __init__(self, folder): ...

    def infer(self, tensors):
        """Each tensor under its name and `_out`, and ratios that may be NaN or infinite."""
        time.sleep(tensors["nap_ms"].max() / 1000)
        if tensors["fails"].any():
            raise ValueError("it was told to fail")
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            ratio = tensors["precise"] / tensors["divisor"]
            ratios = np.stack([ratio, -ratio], axis=1).astype(np.float32)
        told = {f"{name}_out": values for name, values in tensors.items() if name not in ("divisor", "nap_ms", "fails")}
        return told | {"ratio_out": ratio, "ratios_out": ratios}
