"""The model repository extension of the Open Inference Protocol: the live models, a repository that deploys alone fill.

Anybody may read it. Loading and unloading are for callers with the scope `admin`, and change nothing for them either:
what is live is loaded, and `predmesh deploy` decides what is live.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, NoReturn

from predmesh_rpc import context
from predmesh_rpc.errors import DependencyDown, PermissionDenied

from predmesh_prediction.inferring import Inferring
from predmesh_prediction.oip_extensions import not_offered
from predmesh_prediction.violations import Violations

SCOPES_HEADER = "x-predmesh-scopes"
"""What the caller may do, words between spaces; the gateway alone can set it."""

ADMIN = "admin"
"""The scope of those who may change what is served."""

State = Literal["READY", "UNAVAILABLE"]


@dataclass(frozen=True, slots=True)
class Indexed:
    """One live model version."""

    name: str
    version: str
    state: State
    reason: str
    """Why it is not ready; empty where it is."""


@dataclass(frozen=True, slots=True)
class Repository:
    """What is live, as a model repository."""

    inferring: Inferring

    async def index(self, *, ready: bool = False, repository: str = "") -> list[Indexed]:
        """The live model versions by name, then version; *ready* leaves out those that cannot answer.

        Raises:
            InvalidInput: a *repository* is named.
        """
        if repository:
            violations = Violations()
            violations.add("repository_name", "must be left empty: what is live is the one repository")
            violations.check("")
        models = self.inferring.predictor.catalogue.generation.models
        found = [await self._indexed(each.name, each.version) for each in models]
        return [each for each in found if not ready or each.state == "READY"]

    async def load(self, model: str, parameters: Collection[str]) -> None:
        """Return where every live version of *model* is loaded.

        Raises:
            PermissionDenied: the caller lacks the scope.
            InvalidInput: *parameters* bring a configuration or files.
            NotFound: no such model is live.
            DependencyDown: a version of it is still being loaded.
        """
        check_scope("RepositoryModelLoad")
        violations = Violations()
        for name in parameters:
            text = "is not offered: a model runs with what its bundle says; change that, and `predmesh deploy` it"
            violations.add(f"parameters.{name}"[:120], text)
        violations.check(model)
        catalogue = self.inferring.predictor.catalogue
        catalogue.find(model)
        for each in catalogue.generation.versions(model):
            if not await self.inferring.ready(model, each.version):
                text = f"version {each.version} of {model!r} is being loaded, or the model server is away: try again"
                raise DependencyDown("ERROR_REASON_MODEL_SERVER_DOWN", text, bundleId=each.bundle_id)

    async def unload(self) -> NoReturn:
        """Refuse. Raises PermissionDenied where the caller lacks the scope, else NotOffered."""
        check_scope("RepositoryModelUnload")
        raise not_offered("RepositoryModelUnload")

    async def _indexed(self, name: str, version: str) -> Indexed:
        try:
            ready = await self.inferring.ready(name, version)
        except DependencyDown as error:
            return Indexed(name, version, "UNAVAILABLE", error.message)
        return Indexed(name, version, *(("READY", "") if ready else ("UNAVAILABLE", "the model server cannot answer")))


def check_scope(method: str) -> None:
    """Raise PermissionDenied unless the request at hand has the scope of administrators."""
    if ADMIN not in context.header(SCOPES_HEADER).split():
        text = f"{method} is for callers with the scope {ADMIN!r}, which this call does not have"
        raise PermissionDenied("ERROR_REASON_SCOPE_MISSING", text, scope=ADMIN)
