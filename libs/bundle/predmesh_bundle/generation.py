"""A generation: which model versions are live together, and which of them is a name's default."""

from collections.abc import Iterable
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from predmesh_bundle.nearest import hint


class UnknownModel(LookupError):
    """No live model has that name or version; the message names the nearest."""


class LiveModel(BaseModel):
    """One live model version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """Name of the model."""
    version: str
    """Its version."""
    bundle_id: str
    """The bundle that answers for it."""
    default: bool = False
    """Whether requests that name no version come here."""


class Generation(BaseModel):
    """The model versions that are live together; never changed once written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    """Counts up from 1 and is never used twice; 0 is the empty one before any deploy."""
    models: tuple[LiveModel, ...] = ()
    """Ordered by name, then version as a number."""
    created: datetime | None = None
    """When it was written, in UTC."""

    @property
    def bundle_ids(self) -> frozenset[str]:
        """Bundles that it needs."""
        return frozenset(each.bundle_id for each in self.models)

    def versions(self, name: str) -> tuple[LiveModel, ...]:
        """The live versions of a model, smallest first; empty where it is unknown."""
        return tuple(each for each in self.models if each.name == name)

    def find(self, name: str, version: str = "") -> LiveModel:
        """The live model of that name and version; without one, the default.

        Raises:
            UnknownModel: there is none; says which comes nearest.
        """
        versions = self.versions(name)
        if not versions:
            raise UnknownModel(f"no live model is called {name!r}; {hint(name, {each.name for each in self.models})}")
        for each in versions:
            if each.version == version or (not version and each.default):
                return each
        raise UnknownModel(f"model {name!r} has no live version {version!r}; {hint(version, _versions(versions))}")


EMPTY = Generation(number=0)
"""The generation before any deploy."""


def with_model(models: Iterable[LiveModel], added: LiveModel) -> tuple[LiveModel, ...]:
    """*models* with *added* in place of its own name and version.

    Where *added* is no default, the default stays where it is; a model that had none before gets it all the same.
    """
    models = list(models)
    if not added.default:
        held = any(each.default for each in models if (each.name, each.version) == (added.name, added.version))
        added = added.model_copy(update={"default": held})
    others = [each for each in models if (each.name, each.version) != (added.name, added.version)]
    if added.default:
        others = [each.model_copy(update={"default": False}) if each.name == added.name else each for each in others]
    return _ordered([*others, added])


def without_model(models: Iterable[LiveModel], name: str, version: str | None = None) -> tuple[LiveModel, ...]:
    """*models* without a version of *name*, or all of them; the highest left becomes default where it had to go."""
    return _ordered([each for each in models if each.name != name or version not in (None, each.version)])


def _ordered(models: list[LiveModel]) -> tuple[LiveModel, ...]:
    ordered = sorted(models, key=lambda each: (each.name, int(each.version)))
    led = {each.name for each in ordered if each.default}
    highest = {each.name: each.version for each in ordered}
    return tuple(
        each if each.name in led or each.version != highest[each.name] else each.model_copy(update={"default": True})
        for each in ordered
    )


def _versions(models: Iterable[LiveModel]) -> list[str]:
    return [each.version for each in models]
