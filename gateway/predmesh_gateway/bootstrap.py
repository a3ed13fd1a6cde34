"""The whole configuration of one Envoy, from settings to YAML."""

from __future__ import annotations

import yaml

from predmesh_gateway.clusters import clusters
from predmesh_gateway.envoy_types import Json, address, extension
from predmesh_gateway.listener import listener
from predmesh_gateway.settings import Settings

HEAP = "envoy.resource_monitors.fixed_heap"
CONNECTIONS = "envoy.resource_monitors.global_downstream_max_connections"


def bootstrap(settings: Settings) -> Json:
    """The Bootstrap message."""
    return {
        "node": {"id": "gateway", "cluster": "predmesh"},
        "admin": {"address": address(settings.admin_address)},
        "static_resources": {"listeners": [listener(settings)], "clusters": clusters(settings)},
        "overload_manager": overload_manager(settings),
    }


def overload_manager(settings: Settings) -> Json:
    """Sheds load before the kernel kills the gateway."""
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            extension(
                HEAP,
                "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
                max_heap_size_bytes=settings.max_heap_bytes,
            ),
            extension(
                CONNECTIONS,
                "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                max_active_downstream_connections=settings.max_connections,
            ),
        ],
        "actions": [
            _at_heap("envoy.overload_actions.shrink_heap", 0.9),
            _at_heap("envoy.overload_actions.disable_http_keepalive", 0.92),
            _at_heap("envoy.overload_actions.stop_accepting_requests", 0.95),
        ],
    }


def to_yaml(settings: Settings) -> str:
    """The configuration as text that a person can read and Envoy takes."""
    return as_yaml(bootstrap(settings))


def as_yaml(configuration: Json) -> str:
    """A configuration as text."""
    return yaml.dump(configuration, Dumper=_Plain, sort_keys=False, width=120)


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


def _at_heap(action: str, share: float) -> Json:
    return {"name": action, "triggers": [{"name": HEAP, "threshold": {"value": share}}]}
