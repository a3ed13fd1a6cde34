"""Small pieces of Envoy's configuration that every part uses; no decisions."""

from __future__ import annotations

from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]
"""A message of Envoy's API in its JSON form."""

FILTERS = "envoy.extensions.filters"


def typed(message: str, **fields: Any) -> Json:
    """A message that names its own type, e.g. `envoy.extensions.filters.http.router.v3.Router`."""
    return {"@type": f"type.googleapis.com/{message}", **fields}


def extension(name: str, message: str, **fields: Any) -> Json:
    """An extension of Envoy under its well-known name."""
    return {"name": name, "typed_config": typed(message, **fields)}


def seconds(value: float) -> str:
    """A google.protobuf.Duration."""
    return f"{value:.9f}".rstrip("0").rstrip(".") + "s"


def address(text: str) -> Json:
    """The core.v3.Address of `host:port`, `[v6]:port` or `unix:/path`.

    Raises:
        ValueError: it is none of them.
    """
    if text.startswith("unix:"):
        return {"pipe": {"path": text.removeprefix("unix:"), "mode": 0o600}}
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isdecimal()):
        raise ValueError(f"address {text!r} is neither host:port nor unix:/path")
    return {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}}
