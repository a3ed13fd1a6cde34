"""The languages that there are client packages for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from predmesh_clients.go import go_files
from predmesh_clients.java import java_files
from predmesh_clients.package import ClientPackage, Files
from predmesh_clients.python import python_files
from predmesh_clients.typescript import typescript_files

LANGUAGES: Mapping[str, Callable[[ClientPackage], Files]] = {
    "python": python_files,
    "typescript": typescript_files,
    "go": go_files,
    "java": java_files,
}
"""What makes the files of a package, by language."""
