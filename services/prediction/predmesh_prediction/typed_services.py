"""The services of the live models, which come and go; a grpc.GenericRpcHandler."""

from __future__ import annotations

import re
from typing import Any
from weakref import WeakKeyDictionary

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
        self._made: WeakKeyDictionary[Served, TypedService] = WeakKeyDictionary()

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
        if served not in self._made and served.contract is not None:
            bundle = served.stored.bundle
            self._made[served] = TypedService(
                served.contract, self._predictor, bundle.name, bundle.version, self._window
            )
        return self._made.get(served)
