"""The services of the live models, which come and go; a grpc.GenericRpcHandler."""

from __future__ import annotations

import re
from typing import Any

from predmesh_bundle.generation import Generation

from predmesh_prediction.catalogue import Served
from predmesh_prediction.predicting import Predictor
from predmesh_prediction.typed_service import TypedService

_PATH = re.compile(
    r"/(?P<service>predmesh\.models\.(?P<model>[a-z][a-z0-9_]*)\.v(?P<version>[0-9]+)\.\w+)/(?P<method>\w+)"
)


class TypedServices:
    """Finds the handler of a typed call by its path; nothing is registered, so nothing need be taken back."""

    def __init__(self, predictor: Predictor, *, stream_window: int) -> None:
        self._predictor = predictor
        self._window = stream_window
        self._generation: Generation | None = None
        self._made: dict[str, TypedService] = {}

    def service(self, handler_call_details: Any) -> Any:
        """The grpc.RpcMethodHandler of the call; None where no model's service has such a method.

        Raises:
            PredmeshError: the path names a model or version that is not live.
        """
        path = _PATH.fullmatch(handler_call_details.method)
        if path is None:
            return None
        served = self._predictor.catalogue.find(path["model"].replace("_", "-"), path["version"])
        typed = self._typed(served)
        return typed.handlers.get(path["method"]) if typed and typed.contract.service == path["service"] else None

    def contracts(self) -> dict[str, Any]:
        """The descriptor pools of the services of live models, by full name; what reflection shows."""
        models = [served.contract for _, served in self._predictor.catalogue.models()]
        return {contract.service: contract.pool for contract in models if contract is not None}

    def _typed(self, served: Served) -> TypedService | None:
        catalogue = self._predictor.catalogue
        if self._generation is not catalogue.generation:
            self._generation = catalogue.generation
            live = {each.bundle_id for each in catalogue.generation.models}
            self._made = {bundle_id: made for bundle_id, made in self._made.items() if bundle_id in live}
        bundle_id, bundle = served.stored.bundle_id, served.stored.bundle
        if bundle_id not in self._made and served.contract is not None:
            self._made[bundle_id] = TypedService(
                served.contract, self._predictor, bundle.name, bundle.version, self._window
            )
        return self._made.get(bundle_id)
