"""Reads a Feast repository as ``feast apply`` would, with any supported release; imports Feast."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from feast import FeatureStore
from feast.repo_config import RepoConfig
from feast.repo_contents import RepoContents
from feast.repo_operations import parse_repo

from predmesh_bundle.read_plan import ReadPlanError


def load(repo: Path, scratch: Path) -> tuple[RepoContents, FeatureStore]:
    """The definitions in *repo*, and a store whose registry in *scratch* holds them applied.

    Raises:
        ReadPlanError: the repository's settings cannot be served.
    """
    file = repo / "feature_store.yaml"
    if not file.is_file():
        raise ReadPlanError([f"{file.name} is missing in {repo}"])
    raw = yaml.safe_load(os.path.expandvars(file.read_text()))
    check_settings(raw)
    # Neither the shared registry nor the online store is touched: definitions are all that a plan is made of.
    private = {"provider": "local", "registry": str(scratch / "registry.db")}
    config = RepoConfig(**raw | private | {"online_store": {"type": "sqlite", "path": str(scratch / "online.db")}})
    config.repo_path = repo
    with _inside(repo):
        contents = parse_repo(repo)
        store = FeatureStore(config=config)
        views = (contents.feature_views, contents.stream_feature_views, contents.on_demand_feature_views)
        labels = getattr(contents, "label_views", ())  # Not before Feast 0.64.
        objects: list[Any] = [each for kind in (contents.entities, *views, labels) for each in kind]
        store.apply([*objects, *contents.feature_services])
    return contents, store


def check_settings(raw: dict[str, Any]) -> None:
    """Raises ReadPlanError unless a ``feature_store.yaml`` of content *raw* keeps values where Predmesh reads them."""
    online = online_settings(raw)
    registry = raw.get("registry")
    problems = []
    if online.get("type") != "redis":
        problems.append(f"feature_store.yaml: online_store is {online.get('type', 'sqlite')!r}; Predmesh reads 'redis'")
    if raw.get("entity_key_serialization_version", 3) != 3:
        problems.append("feature_store.yaml: entity_key_serialization_version must be 3; write the store anew with it")
    if isinstance(registry, dict) and registry.get("enable_online_feature_view_versioning"):
        problems.append("feature_store.yaml: enable_online_feature_view_versioning is not served; turn it off")
    if problems:
        raise ReadPlanError(problems)


def online_settings(raw: dict[str, Any]) -> dict[str, Any]:
    """The settings of the online store; Feast also takes its bare type."""
    online = raw.get("online_store") or {}
    return {"type": online} if isinstance(online, str) else dict(online)


@contextlib.contextmanager
def _inside(repo: Path) -> Iterator[None]:
    """Feast names modules by their path from the working directory."""
    before, paths = Path.cwd(), sys.path[:]
    os.chdir(repo)
    sys.path.insert(0, str(repo))
    try:
        yield
    finally:
        os.chdir(before)
        sys.path[:] = paths
