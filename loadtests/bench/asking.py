"""The requests of the scenarios: which rows go to which model, each request another."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import yaml
from predmesh_testing.running import ROOT

from loadtests.bench.flights import MODEL, Row, grpc_message, requests, rest_body
from loadtests.bench.scenarios import WINE

WINE_BUNDLE = ROOT / "examples" / "wine" / "bundle"
DISTINCT = 1000
"""Requests of a kind; a run sends them again and again."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request."""

    model: str
    rows: list[Row]

    @property
    def message(self) -> dict[str, Any]:
        """The PredictRequest, as JSON."""
        return grpc_message(self.rows, self.model)

    @property
    def body(self) -> dict[str, Any]:
        """The body over REST."""
        return rest_body(self.rows)

    @property
    def path(self) -> str:
        """Where that body goes."""
        return f"/v1/models/{self.model}:predict"


def asks(rows: int, models: Iterable[str]) -> list[Ask]:
    """Requests of *rows* rows to the *models* in turn."""
    each = [[Ask(model, found) for found in _requests(model, rows)] for model in models]
    return list(chain.from_iterable(zip(*each, strict=False)))


def wines(count: int) -> list[Row]:
    """*count* wines: the real ones, then the same with a little more proline each time."""
    declared = yaml.safe_load((WINE_BUNDLE / "predmesh.yaml").read_text())["inputs"]
    names, real = [each["name"] for each in declared], _real_wines()
    found = [dict(zip(names, real[number % len(real)], strict=True)) for number in range(count)]
    for number, row in enumerate(found):
        row["proline"] += number // len(real)
    return found


def _real_wines() -> list[list[float]]:
    """Scikit-learn's own, read from its folder: importing it takes seconds."""
    spec = importlib.util.find_spec("sklearn")
    assert spec is not None and spec.origin is not None
    lines = (Path(spec.origin).parent / "datasets" / "data" / "wine_data.csv").read_text().splitlines()
    return [[float(value) for value in line.split(",")[:-1]] for line in lines[1:]]


def _requests(model: str, rows: int) -> list[list[Row]]:
    if model == MODEL:
        return requests(rows, DISTINCT)
    if model == WINE:
        pool = wines(DISTINCT * rows)
        return [pool[start : start + rows] for start in range(0, len(pool) - rows + 1, rows)]
    raise ValueError(f"no rows are known for model {model!r}")
