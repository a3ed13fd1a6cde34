"""A real Envoy, on a free port and with the gateway's own configuration, for as long as a test needs it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from predmesh_gateway import admin
from predmesh_gateway.bootstrap import to_yaml
from predmesh_gateway.envoy import argv
from predmesh_gateway.settings import Settings

START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway."""

    address: str
    """Where it listens, `host:port`."""

    settings: Settings
    """As it was started, admin address and files included."""

    process: subprocess.Popen[bytes]
    """Envoy itself."""

    @property
    def url(self) -> str:
        """The base of REST calls."""
        return f"http://{self.address}"

    def access_log(self) -> str:
        """What was logged so far; Envoy writes it out after at most a second, at once when reopened."""
        admin.get(self.settings.admin_address, "/reopen_logs", method="POST")
        return Path(self.settings.access_log).read_text()


def settings_over(*sockets: Path, **more: Any) -> Settings:
    """Settings of a gateway that reaches the echoes at *sockets*."""
    return Settings(
        prediction_addresses=tuple(f"unix:{socket}" for socket in sockets),
        prediction_websocket_addresses=tuple(f"unix:{websockets(socket)}" for socket in sockets),
        **more,
    )


def websockets(socket: Path) -> Path:
    """Where the echo at *socket* opens WebSockets."""
    return socket.with_suffix(".ws")


@contextlib.contextmanager
def running_gateway(
    settings: Settings, folder: Path, *, written: Callable[[Settings], str] = to_yaml
) -> Iterator[Gateway]:
    """Starts a gateway on a free loopback port, and ends it.

    Args:
        settings: what to serve; addresses and the access log are replaced by ones of this run.
        folder: where its files go, short enough for unix sockets (100 characters).
        written: what makes a configuration of settings.

    Raises:
        RuntimeError: it ended, or was not ready in time; the text holds its log.
    """
    settings = settings.model_copy(
        update={
            "address": "127.0.0.1:0",
            "admin_address": f"unix:{folder / 'admin.sock'}",
            "access_log": str(folder / "access.log"),
        }
    )
    with _running(settings, written(settings), folder) as gateway:
        yield gateway


@contextlib.contextmanager
def running_tls_before(address: str, certificate: Path, folder: Path) -> Iterator[str]:
    """Starts an Envoy that speaks TLS by *certificate*, PEM of key and chain, before the gateway at *address*.

    Yields:
        Where it listens, `https://host:port`.
    """
    settings = Settings(prediction_addresses=(address,), admin_address=f"unix:{folder / 'admin.sock'}")
    with _running(settings, json.dumps(_tls_before(address, certificate, folder / "admin.sock")), folder) as tls:
        yield f"https://{tls.address}"


def _tls_before(address: str, certificate: Path, admin_socket: Path) -> dict[str, Any]:
    host, port = address.split(":")
    extensions = "type.googleapis.com/envoy.extensions"
    pair = {"certificate_chain": {"filename": str(certificate)}, "private_key": {"filename": str(certificate)}}
    secured = {
        "@type": f"{extensions}.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"alpn_protocols": ["h2", "http/1.1"], "tls_certificates": [pair]},
    }
    routed = {
        "@type": f"{extensions}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "tls",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "mesh",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "mesh", "timeout": "0s"}}],
                }
            ]
        },
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{extensions}.filters.http.router.v3.Router"}}],
    }
    chain = {
        "transport_socket": {"name": "tls", "typed_config": secured},
        "filters": [{"name": "http", "typed_config": routed}],
    }
    as_asked = {
        "@type": f"{extensions}.upstreams.http.v3.HttpProtocolOptions",
        "use_downstream_protocol_config": {"http2_protocol_options": {}},
    }
    cluster = {
        "name": "mesh",
        "load_assignment": {"cluster_name": "mesh", "endpoints": [{"lb_endpoints": [{"endpoint": _at(host, port)}]}]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": as_asked},
    }
    return {
        "admin": {"address": {"pipe": {"path": str(admin_socket)}}},
        "static_resources": {
            "listeners": [{"name": "tls", **_at("127.0.0.1", "0"), "filter_chains": [chain]}],
            "clusters": [cluster],
        },
    }


def _at(host: str, port: str) -> dict[str, Any]:
    return {"address": {"socket_address": {"address": host, "port_value": int(port)}}}


@contextlib.contextmanager
def _running(settings: Settings, configuration: str, folder: Path) -> Iterator[Gateway]:
    config, log = folder / "envoy.yaml", folder / "envoy.log"
    config.write_text(configuration)
    with log.open("wb") as out:
        process = subprocess.Popen(argv(settings, config), stdout=out, stderr=out)
    try:
        _wait_until_ready(process, settings, log)
        yield Gateway(admin.listening_on(settings.admin_address), settings, process)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
        process.kill()
        process.wait()


@contextlib.contextmanager
def running_echo(socket: Path, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """Starts `echo_prediction` on the unix socket *socket* with more environment *variables*, and ends it."""
    command = [sys.executable, "-m", "predmesh_testing.echo_prediction"]
    own = {"ECHO_ADDRESS": f"unix:{socket}", "ECHO_WEBSOCKET_ADDRESS": f"unix:{websockets(socket)}"}
    own |= {"ECHO_GRACE_SECONDS": "0", "ECHO_LOG_LEVEL": "ERROR"}
    process = subprocess.Popen(command, env=os.environ | own | variables)
    try:
        end = time.monotonic() + START_SECONDS
        while not socket.exists():
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("the echo did not start; its words stand above")
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], settings: Settings, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while not admin.ready(settings.admin_address):
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"envoy did not start; its log:\n{log.read_text()}")
        time.sleep(0.02)
