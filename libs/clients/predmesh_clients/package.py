"""What a client package is: its name, its models and the files that it consists of; no language is known here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from predmesh_compiler.contracts import Contract
from predmesh_compiler.fields import TypedField, one_line

Files = Mapping[str, bytes]
"""Contents by path inside the package."""

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


class ClientError(Exception):
    """The package cannot be made; the message says what to do."""


@dataclass(frozen=True, slots=True)
class ClientPackage:
    """What to make a client package of."""

    name: str
    """Name of the set of models, e.g. `flights`: small letters, digits and single hyphens."""
    contracts: Sequence[Contract]
    """One a model and version."""
    registered: str = ""
    """What a registry knows it by; for Go the module's path, for Java GROUP:ARTIFACT.

    Default: `predmesh-client-NAME`.
    """
    version: str = "0.1.0"
    """Its own version."""

    def __post_init__(self) -> None:
        """Check the name; the first model and its version are what a README shows."""
        if not _NAME.fullmatch(self.name):
            raise ClientError(f"{self.name!r} is no name of a client: write small letters, digits and single hyphens")
        if not self.contracts:
            raise ClientError("no model is named, and none is live: name the folder of a bundle")

    @property
    def package(self) -> str:
        """The name that a registry knows it by."""
        return self.registered or f"predmesh-client-{self.name}"


def pascal(contract: Contract) -> str:
    """Name of a model as a type: `FlightDelay`."""
    return contract.service.rpartition(".")[2].removesuffix("Service")


def title(contract: Contract) -> str:
    """A model and its version, in words."""
    return f"{contract.bundle.name} version {contract.bundle.version}"


def module_name(contract: Contract) -> str:
    """Name of the module of a model and its version: `flight_delay_v1`."""
    return f"{contract.bundle.name.replace('-', '_')}_v{contract.bundle.version}"


def facts(contract: Contract, example: Callable[[Any, TypedField], str]) -> dict[str, Any]:
    """What the templates of every language ask of a model; *example* writes an input's example into a call."""
    fields = {each.name: each for each in contract.inputs}
    plain = [each for each in contract.bundle.inputs if each.required and not each.shape]
    return {
        "title": title(contract),
        "module": module_name(contract),
        "client": f"{pascal(contract)}Client",
        "service": contract.service.rpartition(".")[2],
        "description": one_line(contract.bundle.description),
        "explained": "Explain" in contract.methods,
        "example": [example(each.example, fields[each.name]) for each in plain],
    }


def describe(package: ClientPackage) -> str:
    """The models of a package, in words."""
    return ", ".join(title(each) for each in package.contracts)


def environment(**filters: Callable[..., Any]) -> Environment:
    """The templates, which may use *filters*; a name that nobody gave is an error."""
    made = Environment(
        loader=PackageLoader("predmesh_clients"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - it writes no HTML
    )
    made.filters.update(filters)
    return made
