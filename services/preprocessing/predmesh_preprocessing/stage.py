"""The preprocessing stage, opened in another service's process: tensors without a message."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from predmesh_bundle.stages import Opened, Preprocessing, Tensors
from predmesh_bundle.store import Store
from predmesh_frame import Frame
from predmesh_frame.frames import beside
from predmesh_rpc.settings import read

from predmesh_preprocessing.preprocessor import Preprocessor
from predmesh_preprocessing.settings import Settings
from predmesh_preprocessing.wiring import open_service


def installed(store: Store, variables: Mapping[str, str]) -> AbstractAsyncContextManager[Opened[Preprocessing]]:
    """The stage with the settings that the preprocessing service reads from *variables*. Raises SettingsError."""
    return open_stage(read(Settings, "PREPROCESSING_", variables), store)


@asynccontextmanager
async def open_stage(settings: Settings, store: Store) -> AsyncIterator[Opened[Preprocessing]]:
    """The stage, for the block."""
    async with open_service(settings, store) as service:
        yield Opened(PreprocessingStage(service.loader), service.loader)


class PreprocessingStage:
    """Turns columns into tensors by plain calls."""

    def __init__(self, preprocessor: Preprocessor) -> None:
        self._preprocessor = preprocessor

    async def transform(self, bundle_id: str, frames: Sequence[Frame]) -> Tensors:
        """The tensors of the rows that *frames* hold side by side. Raises PredmeshError."""
        return await self._preprocessor.transform(bundle_id, beside(frames))
