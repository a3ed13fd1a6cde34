"""What a graph asks of its stages and what they give it, wherever they run; no transport, no protobuf."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from predmesh_frame import Frame
from predmesh_frame.columns import Array

from predmesh_bundle.follower import Loader
from predmesh_bundle.generation import Generation
from predmesh_bundle.schema import Placement, Stage
from predmesh_bundle.store import StoredBundle

_Kind = TypeVar("_Kind", covariant=True)

ENTRY_POINTS = "predmesh.stages"
"""Where a package says how its stage is opened in another's process: stage = "package.module:function", a function of
the store and the environment's variables whose answer is an asynchronous context manager of `Opened`."""

Tensors = Mapping[str, Array]
"""Tensors by name, the rows first."""


@dataclass(frozen=True, slots=True)
class Looked:
    """Features of a batch of rows."""

    features: Frame
    """One column a feature."""
    store_down: bool = False
    """Whether the features service could not read its store and gave what the bundle declares."""
    read_age_seconds: float = 0.0
    """How long ago the row was read from the store that was read first; 0 when all were read for this."""


@dataclass(frozen=True, slots=True)
class Explained:
    """Why the model answered as it did."""

    method: int
    """A number of predmesh.explanation.v1.ExplanationMethod."""
    space: int
    """A number of predmesh.explanation.v1.AttributionSpace."""
    feature_names: tuple[str, ...]
    """Names of the columns of `contributions`."""
    base_values: npt.NDArray[np.float64]
    """(rows,), the answer without any feature known."""
    contributions: npt.NDArray[np.float64]
    """(rows, features), how much each moved the answer."""


class Features(Protocol):
    """Looks features up."""

    async def lookup(self, bundle_id: str, keys: Frame, max_age_seconds: float | None) -> Looked:
        """The features of each row of *keys*. Raises PredmeshError."""
        ...


class Preprocessing(Protocol):
    """Turns columns into the model's tensors."""

    async def transform(self, bundle_id: str, frames: Sequence[Frame]) -> Tensors:
        """The tensors of the rows that *frames* hold side by side. Raises PredmeshError."""
        ...


class Inference(Protocol):
    """Runs the model."""

    async def infer(self, bundle: StoredBundle, tensors: Tensors, outputs: tuple[str, ...]) -> Tensors:
        """The named outputs of the bundle's model. Raises PredmeshError."""
        ...

    async def ready(self, bundle: StoredBundle) -> bool:
        """Whether the model can be asked. Raises PredmeshError."""
        ...


class Explanation(Protocol):
    """Says why the model answered as it did."""

    async def explain(self, bundle_id: str, tensors: Tensors, output_index: int) -> Explained:
        """The attributions of each row. Raises PredmeshError."""
        ...


async def _well() -> None:
    """What depends on nothing has nothing to check."""


@dataclass(frozen=True, slots=True)
class Opened(Generic[_Kind]):
    """A stage that was opened in this process."""

    stage: _Kind
    """What answers."""
    loader: Loader
    """What loads the bundles that it answers for."""
    check: Callable[[], Awaitable[None]] = _well
    """Returns where what it depends on answers; raises PredmeshError where not."""


@dataclass(frozen=True, slots=True)
class Outside:
    """Loads what *loader* must of the bundles whose *stage* runs outside of the prediction process."""

    stage: Stage
    loader: Loader

    async def load(self, bundle: StoredBundle) -> None:
        """Load *bundle*, unless prediction itself does."""
        if bundle.bundle.stages.of(self.stage) is not Placement.IN_PROCESS:
            await self.loader.load(bundle)

    async def unload(self, bundle_id: str) -> None:
        """Let go of a bundle."""
        await self.loader.unload(bundle_id)

    async def flip(self, generation: Generation) -> None:
        """Serve *generation*."""
        await self.loader.flip(generation)
