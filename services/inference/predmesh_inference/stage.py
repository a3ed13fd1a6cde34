"""The inference stage, opened in another service's process: models run by plain calls, on the CPU."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import numpy as np
from predmesh_bundle.stages import Inference, Opened, Tensors
from predmesh_bundle.store import Store, StoredBundle
from predmesh_rpc.settings import read

from predmesh_inference.domain import Array
from predmesh_inference.local_server import LocalServer
from predmesh_inference.settings import IN_PROCESS, Settings
from predmesh_inference.wiring import open_service


def installed(store: Store, variables: Mapping[str, str]) -> AbstractAsyncContextManager[Opened[Inference]]:
    """The stage with the settings that the inference service reads from *variables*. Raises SettingsError."""
    return open_stage(read(Settings, "INFERENCE_", variables), store)


@asynccontextmanager
async def open_stage(settings: Settings, store: Store) -> AsyncIterator[Opened[Inference]]:
    """The stage, for the block; it looks at no Triton."""
    here = settings.model_copy(update={"triton_address": IN_PROCESS})
    async with open_service(here, store) as service:
        agent = service.loader
        assert isinstance(agent.server, LocalServer), "that is what the address asks for"
        yield Opened(InferenceStage(agent.server), agent, agent.check_models)


class InferenceStage:
    """Runs models by plain calls."""

    def __init__(self, server: LocalServer) -> None:
        self._server = server

    async def infer(self, bundle: StoredBundle, tensors: Tensors, outputs: tuple[str, ...]) -> Tensors:
        """The named outputs of the bundle's model. Raises PredmeshError."""
        answer = await self._server.answer(bundle.model_id, {name: _given(array) for name, array in tensors.items()})
        return {name: answer[name] for name in outputs}

    async def ready(self, bundle: StoredBundle) -> bool:
        """Whether the bundle's model is loaded."""
        return bundle.model_id in self._server.names()


def _given(array: Array) -> Array:
    """*array* as a model gets it from Triton: text as bytes, and not to be written into."""
    if array.dtype.kind in "OSU":
        return _encoded(array)
    view = array.view()
    view.flags.writeable = False
    return view


def _encoded(array: Array) -> Array:
    encoded = np.empty(array.shape, dtype=object)
    encoded.ravel()[:] = [each.encode() if isinstance(each, str) else each for each in array.ravel().tolist()]
    return encoded
