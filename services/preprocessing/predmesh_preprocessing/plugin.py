"""Preprocessing as the bundle's own Python class, imported so that two versions of it never mix."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from predmesh_frame import Frame

from predmesh_preprocessing.domain import Tensors, Unusable


class Plugin:
    """`module:Class` of a bundle: made with the bundle's folder, asked to `transform(frame)`."""

    blocking = True

    def __init__(self, name: str, folder: Path, bundle_id: str) -> None:
        """Import the module from *folder* and make the class.

        Raises:
            Unusable: it cannot be imported or made, or has no `transform`.
        """
        module, _, kind = name.partition(":")
        self._package = BundlePackage(bundle_id, folder)
        try:
            self._instance = getattr(self._package.module(module), kind)(folder)
        except Exception as error:  # the bundle's code may raise anything
            self.close()
            raise Unusable(
                f"the plug-in {name} cannot be made: {type(error).__name__}: {error}{_advice(error)}"
            ) from error
        if not callable(getattr(self._instance, "transform", None)):
            self.close()
            raise Unusable(f"the plug-in {name} has no method transform(frame)")

    def transform(self, frame: Frame) -> Tensors:
        """What the plug-in makes of *frame*; raises whatever it raises."""
        tensors: Any = self._instance.transform(frame)
        if not isinstance(tensors, dict):
            raise TypeError(f"transform gave {type(tensors).__name__}, not a dict of arrays by tensor name")
        return tensors

    def close(self) -> None:
        """Forget the plug-in and its modules."""
        self._instance = None
        self._package.forget()


class BundlePackage(MetaPathFinder):
    """A bundle's folder as a package of its own name, so that `from .other import x` works within it alone.

    Nothing is written beside the source: stored bundles never change.
    """

    def __init__(self, bundle_id: str, folder: Path) -> None:
        self.name = "predmesh_plugin_" + "".join(each if each.isalnum() else "_" for each in bundle_id)
        self._folder = folder
        self.forget()
        root = ModuleType(self.name)
        root.__path__ = []
        sys.modules[self.name] = root
        sys.meta_path.insert(0, self)

    def module(self, name: str) -> ModuleType:
        """The bundle's module *name*, dots and all."""
        return importlib.import_module(f"{self.name}.{name}")

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Finds the modules of this bundle and no others."""
        prefix = f"{self.name}."
        if not fullname.startswith(prefix):
            return None
        base = self._folder.joinpath(*fullname.removeprefix(prefix).split("."))
        if base.with_suffix(".py").is_file():
            return _spec(fullname, base.with_suffix(".py"), package=False)
        if (base / "__init__.py").is_file():
            return _spec(fullname, base / "__init__.py", package=True)
        return ModuleSpec(fullname, None, is_package=True) if base.is_dir() else None

    def forget(self) -> None:
        """Take every module of this package out of the interpreter."""
        sys.meta_path[:] = [
            each for each in sys.meta_path if not (isinstance(each, BundlePackage) and each.name == self.name)
        ]
        for name in [each for each in sys.modules if each == self.name or each.startswith(f"{self.name}.")]:
            del sys.modules[name]
        gc.collect()


class _ReadOnlyLoader(SourceFileLoader):
    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Write no bytecode."""


def _spec(fullname: str, file: Path, *, package: bool) -> ModuleSpec | None:
    loader = _ReadOnlyLoader(fullname, str(file))
    return importlib.util.spec_from_file_location(
        fullname, file, loader=loader, submodule_search_locations=[] if package else None
    )


def _advice(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError):
        return " (a module of the bundle itself is imported as `from .module import name`)"
    return ""
