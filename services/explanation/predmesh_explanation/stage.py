"""The explanation stage, opened in another service's process: attributions without a message."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from predmesh_bundle.stages import Explained, Explanation, Opened, Tensors
from predmesh_bundle.store import Store
from predmesh_rpc.settings import read

from predmesh_explanation.explaining import Explanations, Question
from predmesh_explanation.settings import Settings
from predmesh_explanation.wiring import open_service


def installed(store: Store, variables: Mapping[str, str]) -> AbstractAsyncContextManager[Opened[Explanation]]:
    """The stage with the settings that the explanation service reads from *variables*. Raises SettingsError."""
    return open_stage(read(Settings, "EXPLANATION_", variables), store)


@asynccontextmanager
async def open_stage(settings: Settings, store: Store) -> AsyncIterator[Opened[Explanation]]:
    """The stage, for the block."""
    async with open_service(settings, store) as service:
        yield Opened(ExplanationStage(service.loader), service.loader)


class ExplanationStage:
    """Explains answers by plain calls."""

    def __init__(self, explanations: Explanations) -> None:
        self._explanations = explanations

    async def explain(self, bundle_id: str, tensors: Tensors, output_index: int) -> Explained:
        """The attributions of each row. Raises PredmeshError."""
        question = Question(bundle_id=bundle_id, tensors=dict(tensors), output_index=output_index)
        found = await self._explanations.explain(question)
        return Explained(
            found.method.value, found.space.value, found.feature_names, found.base_values, found.contributions
        )
