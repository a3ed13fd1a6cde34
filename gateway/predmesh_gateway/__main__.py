"""Writes Envoy's configuration from the environment, `GATEWAY_…`; run Envoy itself with the words it prints."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from predmesh_rpc.settings import SettingsError, read

from predmesh_gateway.bootstrap import to_yaml
from predmesh_gateway.envoy import InvalidConfiguration, argv, validate
from predmesh_gateway.settings import Settings


def main(words: list[str] | None = None) -> None:
    """Write a configuration that Envoy takes, or say why it would not."""
    asked = _parser().parse_args(words)
    try:
        settings = read(Settings, prefix="GATEWAY_")
        config = to_yaml(settings)
        validate(config)
    except (SettingsError, InvalidConfiguration) as error:
        sys.exit(f"predmesh gateway: {error}")
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(config)
    sys.stdout.write(shlex.join(argv(settings, asked.out)) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m predmesh_gateway", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where to write the YAML")
    return parser


if __name__ == "__main__":
    main()
