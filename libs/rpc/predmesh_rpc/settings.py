"""What an operator may change: read once from the environment, checked, frozen."""

from __future__ import annotations

import difflib
import logging
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

SHARED_PREFIX = "PREDMESH_"
"""Prefix of the variables that every service reads when its own is absent."""

_log = logging.getLogger(__name__)
_Settings = TypeVar("_Settings", bound=BaseModel)


class SettingsError(Exception):
    """Variables of the environment that cannot be; the message names each and shows no value."""


class ServiceSettings(BaseModel):
    """What every service has; a service's own settings extend it.

    Secrets are ``Field(repr=False)``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    service: str = "predmesh"
    """Name of the service, in logs, metrics and traces; by default the prefix in lower case."""

    instance: str = Field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}", min_length=1)
    """Name of this process, unique in the mesh."""

    home: Path = Path(".predmesh")
    """Folder of everything that a mesh keeps on this machine."""

    store: Path = Field(default_factory=lambda data: data["home"] / "store")
    """Folder of bundles and generations."""

    address: str = Field(default_factory=lambda data: f"unix:{data['home'] / 'run' / data['service']}.sock")
    """Where to listen: ``unix:/path`` or ``host:port``, several with commas; port 0 takes a free one."""

    websocket_address: str = ""
    """Where WebSockets are opened, ``unix:/path`` or ``host:port``; empty turns them off."""

    metrics_address: str = ""
    """Where Prometheus reads ``/metrics``: ``host:port`` or ``unix:/path``; empty turns it off."""

    default_deadline_seconds: float = Field(default=1.0, gt=0)
    """Time allowed to a call whose caller set no deadline."""

    stream_deadline_seconds: float = Field(default=3600.0, gt=0)
    """Time allowed to a streamed answer whose caller set no deadline."""

    grace_seconds: float = Field(default=5.0, ge=0)
    """Time that calls in flight have to end once the process was asked to."""

    # A stage gets 10,000 rows of inputs, features or tensors, which outgrow the 4 MiB that a caller may send.
    max_message_bytes: int = Field(default=64 * 1024 * 1024, gt=0)
    """Longest request message taken; a longer one is refused with ERROR_REASON_TOO_LARGE."""

    otlp_endpoint: str = ""
    """Where spans go, e.g. ``http://127.0.0.1:4317``; empty turns tracing off."""

    log_level: str = "INFO"
    """Least level that is logged: DEBUG, INFO, WARNING or ERROR."""

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, level: str) -> str:
        if level.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise ValueError("must be DEBUG, INFO, WARNING or ERROR")
        return level.upper()

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses of `address`, one by one."""
        return tuple(part.strip() for part in self.address.split(",") if part.strip())


def read(kind: type[_Settings], prefix: str, environ: Mapping[str, str] | None = None) -> _Settings:
    """Settings of *kind* from the environment: ``<PREFIX><FIELD>``, else ``PREDMESH_<FIELD>``, else the default.

    Args:
        kind: the class to fill; its field names in upper case are the variables' names.
        prefix: the service's own, e.g. ``FEATURES_``.
        environ: the environment; by default the process's.

    Raises:
        SettingsError: a variable is missing or holds what it must not.
    """
    variables = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    for field in kind.model_fields:
        for candidate in (prefix, SHARED_PREFIX):
            if value := variables.get(candidate + field.upper()):
                values[field] = value
                break
    if "service" in kind.model_fields and "service" not in values:
        values["service"] = prefix.rstrip("_").lower()
    _warn_of_near_misses(kind, prefix, variables)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise SettingsError(_problems(error, prefix, variables)) from None


def _problems(error: ValidationError, prefix: str, variables: Mapping[str, str]) -> str:
    lines = []
    for problem in error.errors(include_input=False, include_url=False, include_context=False):
        field = str(problem["loc"][0]).upper() if problem["loc"] else ""
        own, shared = prefix + field, SHARED_PREFIX + field
        lines.append(f"{shared if shared in variables and own not in variables else own}: {problem['msg']}")
    return "cannot start; set these variables right:\n  " + "\n  ".join(lines)


def _warn_of_near_misses(kind: type[BaseModel], prefix: str, variables: Mapping[str, str]) -> None:
    known = [prefix + field.upper() for field in kind.model_fields]
    for name in variables:
        if name.startswith(prefix) and name not in known:
            for near in difflib.get_close_matches(name, known, n=1, cutoff=0.85):
                _log.warning("a variable is not read", extra={"variable": name, "nearest": near})
