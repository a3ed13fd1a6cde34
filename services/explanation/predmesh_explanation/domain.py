"""What an explanation is, what it may cost, and who can give one; not how it is computed."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
from predmesh_frame.columns import Array
from predmesh_rpc.errors import DeadlineExceeded, FailedPrecondition, InvalidInput, NotFound, Violation

STAGE: Final = "explanation"
MAX_ROWS = 10_000
Numbers = npt.NDArray[np.float64]
Expired = Callable[[], bool]
"""Says whether the time is up."""


class Unusable(Exception):
    """The bundle's model cannot be explained as it asks; the text says why."""


class Space(enum.IntEnum):
    """Where attributions add up; the numbers are those of the contract's AttributionSpace."""

    IDENTITY = 1
    LOGIT = 2
    MARGIN = 3


class Method(enum.IntEnum):
    """How attributions are computed; the numbers are those of the contract's ExplanationMethod."""

    TREE_SHAP = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributions:
    """What moved the answers of a batch of rows."""

    method: Method
    space: Space
    feature_names: tuple[str, ...]
    base_values: Numbers
    """(rows,), the expected answer without any feature known."""
    contributions: Numbers
    """(rows, features)."""
    max_additivity_error: float
    """Largest difference to the model's own answer, in `space`."""


class Explainer(Protocol):
    """One bundle's model, ready to be explained; used by one thread at a time."""

    method: Method

    def table(self, tensors: dict[str, Array]) -> Array:
        """The model's table of the given input tensors, rows first.

        Raises:
            InvalidInput: they are none the model takes.
        """
        ...

    def check_output(self, index: int) -> None:
        """Raise InvalidInput unless the model has an output of that *index*."""
        ...

    def explain(self, table: Array, output_index: int, expired: Expired) -> Attributions:
        """The attributions of every row of *table*.

        Raises:
            OutOfTime: *expired* said so before the last row.
        """
        ...


class OutOfTime(Exception):
    """The time was up before the last row was explained."""


def out_of_time(budget_seconds: float, rows: int) -> DeadlineExceeded:
    """What a caller hears when the budget was too small."""
    return DeadlineExceeded(
        "ERROR_REASON_DEADLINE",
        f"explaining {rows} rows takes longer than the {budget_seconds:.3g} s allowed; send fewer rows or allow more",
        stage=STAGE,
        budgetSeconds=f"{budget_seconds:.6g}",
    )


def budget(asked_seconds: float | None, remaining_seconds: float) -> float:
    """Time to spend: what was asked for, and never more than what is left."""
    return remaining_seconds if asked_seconds is None else min(asked_seconds, remaining_seconds)


def not_explainable(bundle_id: str, reason: str) -> FailedPrecondition:
    """What a caller hears of a bundle that declares no such explanation."""
    return FailedPrecondition("ERROR_REASON_NOT_EXPLAINABLE", f"{bundle_id} {reason}", model=bundle_id)


def unknown_bundle(bundle_id: str) -> NotFound:
    """What a caller hears of a bundle that this process has not loaded."""
    return NotFound("ERROR_REASON_BUNDLE_UNKNOWN", f"bundle {bundle_id!r} is not loaded here", bundleId=bundle_id)


def model_failed(bundle_id: str) -> FailedPrecondition:
    """What a caller hears when the model's own library fails; its words are in the log."""
    return FailedPrecondition(
        "ERROR_REASON_MODEL_FAILED",
        f"the model of {bundle_id} could not be explained for these rows; the log holds the rest",
        bundleId=bundle_id,
        stage=STAGE,
    )


def invalid(field: str, problem: str) -> InvalidInput:
    """One thing that is wrong with a request."""
    return InvalidInput("ERROR_REASON_INVALID_REQUEST", f"{field} {problem}", [Violation(field, problem)])


def check_rows(rows: int) -> None:
    """Raise InvalidInput unless there are 1 to MAX_ROWS rows."""
    if not 1 <= rows <= MAX_ROWS:
        raise invalid("tensors", f"hold {rows} rows; send 1 to {MAX_ROWS}")


def chunks(rows: int, size: int) -> Sequence[slice]:
    """The rows in pieces of at most *size*, so that a budget can end the work between two of them."""
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


def additivity_error(base_values: Any, contributions: Any, answers: Any) -> float:
    """Largest difference between base value plus contributions and the model's own answer."""
    told = np.asarray(base_values, np.float64) + np.asarray(contributions, np.float64).sum(axis=1)
    return float(np.max(np.abs(told - np.asarray(answers, np.float64)), initial=0.0))
