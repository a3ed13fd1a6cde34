"""Builds generated clients, and the programs in `clients/` that ask by them, as users of each language do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

from predmesh_testing.needs import find
from predmesh_testing.running import ROOT, RunningMesh

PROGRAMS = Path(__file__).parent / "clients"
EVERYTHING = ROOT / "tests/unit/compiler/golden/everything"
UV = str(ROOT / ".tools/uv/bin/uv")
SECONDS = 180
NPM = ("--silent", "--no-audit", "--no-fund", "--prefer-offline", "--ignore-scripts")
LOCKED = "grpcio==1.85.1\nprotobuf==7.36.2\n"


def done(*words: str | Path, folder: Path, **variables: str) -> str:
    """What a program prints; a failing one fails the test with its words."""
    own = os.environ | variables
    ran = subprocess.run(list(map(str, words)), cwd=folder, env=own, capture_output=True, text=True, timeout=SECONDS)
    assert ran.returncode == 0, f"{words[:3]}: {ran.stdout[-3000:]}\n{ran.stderr[-3000:]}"
    return ran.stdout


class Workshop:
    """Where packages are generated and built, each once."""

    def __init__(self, mesh: RunningMesh, folder: Path) -> None:
        self.mesh = mesh
        self.folder = folder
        self.package = cache(self._package)
        self.typescript = cache(self._typescript)
        self.program = cache(self._program)

    def new(self, name: str) -> Path:
        """A folder of its own."""
        (self.folder / name).mkdir()
        return self.folder / name

    def _program(self, build: Callable[[Workshop], list[str]]) -> list[str]:
        """The command that runs what *build* makes."""
        return build(self)

    def _package(self, language: str) -> Path:
        """The generated clients of a live model and of a bundle's."""
        out = self.folder / language
        both = ("flight-delay", "--from", str(EVERYTHING), "--name", "flights")
        made = self.mesh.predmesh("client", *both, "--lang", language, "--out", str(out), check=False)
        assert made.returncode == 0, made.stderr
        return out

    def _typescript(self) -> Path:
        """A project that has the package installed and asks by it, checked."""
        package, project = self.package("typescript"), self.folder / "project"
        shutil.copytree(PROGRAMS / "typescript", project)
        done("npm", "pack", "--silent", "--pack-destination", project, folder=package)
        [packed] = project.glob("*.tgz")
        done("npm", "install", "--no-save", *NPM, packed, folder=project)
        done("node_modules/.bin/tsc", folder=project)
        return project

    def script(self, entry: str, *options: str) -> Path:
        """The project's *entry* and all that it imports as one script."""
        project = self.typescript()
        script = project / f"{entry}.mjs"
        done("node_modules/.bin/esbuild", entry, "--bundle", f"--outfile={script}", *options, folder=project)
        return script

    def python(self, name: str, *options: str | Path) -> list[str]:
        """A Python of its own with the package's wheel and what it needs."""
        package, folder = self.package("python"), self.folder / name
        wheels = folder / "wheels"
        done(UV, "build", "-q", "--wheel", "-p", sys.executable, "-o", wheels, package, folder=folder)
        [wheel] = wheels.glob("*.whl")
        done(UV, "venv", "-q", "-p", sys.executable, "venv", folder=folder)
        python = folder / "venv/bin/python"
        done(UV, "pip", "install", "-q", "-p", python, *options, wheel, folder=folder)
        return [str(python), "-W", "error", str(PROGRAMS / "calls.py")]


def python_newest(workshop: Workshop) -> list[str]:
    locked = workshop.new("newest") / "locked.txt"
    locked.write_text(LOCKED)
    return workshop.python("newest", "-c", locked)


def python_oldest(workshop: Workshop) -> list[str]:
    workshop.new("oldest")
    return workshop.python("oldest", "--resolution", "lowest-direct")


def node(workshop: Workshop) -> list[str]:
    return ["node", str(workshop.script("node.ts", "--platform=node", "--format=esm"))]


def browser(workshop: Workshop) -> list[str]:
    chromium = str(find("headless-chromium"))
    words = [chromium, str(workshop.script("browser.ts")), workshop.mesh.cors_origin]
    return [sys.executable, str(PROGRAMS / "in_browser.py"), *words]


def go(workshop: Workshop) -> list[str]:
    folder = workshop.new("asks")
    shutil.copytree(PROGRAMS / "go", folder, dirs_exist_ok=True)
    done("go", "work", "init", folder, workshop.package("go"), folder=workshop.folder)
    done("go", "vet", "./...", folder=workshop.package("go"))
    done("go", "build", "-buildvcs=false", "-o", "program", ".", folder=folder)
    return [str(folder / "program")]


def java(workshop: Workshop) -> list[str]:
    workshop.package("java")
    folder = workshop.new("asks-in-java")
    shutil.copytree(PROGRAMS / "java", folder, dirs_exist_ok=True)
    done("mvn", "-q", "-B", "-f", "both.xml", "package", folder=folder)
    return ["java", "-cp", f"{folder}/target/classes:{folder}/target/lib/*", "Asks"]
