"""`predmesh client`: packages that call models by their own types."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from predmesh_bundle.generation import UnknownModel
from predmesh_bundle.problems import BundleError
from predmesh_bundle.store import Store, StoreError
from predmesh_clients.languages import LANGUAGES
from predmesh_clients.package import ClientError, ClientPackage
from predmesh_clients.writing import write_package
from predmesh_compiler.contracts import Contract
from predmesh_compiler.earlier import from_folder, from_store
from rich.markup import escape

from predmesh_cli import console
from predmesh_cli.errors import CliError, ExitCode
from predmesh_cli.options import DEFAULT_HOME, HomeOption, JsonOption, open_store

app = typer.Typer()


@app.command()
def client(
    language: Annotated[str, typer.Option("--lang", help=f"One of {', '.join(LANGUAGES)}.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the package: a new one, or that of an earlier one.")],
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Live models, each with all its live versions.", show_default="all, unless --from is there"
        ),
    ] = None,
    bundles: Annotated[
        list[Path] | None, typer.Option("--from", help="A bundle's folder, live or not; may be repeated.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the set of models, e.g. flights.")] = "models",
    package: Annotated[
        str,
        typer.Option(
            "--package",
            help="What a registry knows it by; for Go the module's path, for Java GROUP:ARTIFACT.",
            show_default="by name",
        ),
    ] = "",
    version: Annotated[str, typer.Option("--package-version", help="The package's own version.")] = "0.1.0",
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Generate a package that calls models by their own types, ready to install or to commit."""
    if language not in LANGUAGES:
        raise CliError(
            f"there is no client in {language!r}", hint=f"one of {', '.join(LANGUAGES)}", code=ExitCode.USAGE
        )
    try:
        live = _live(open_store(home), models or []) if models or not bundles else []
        contracts = [*live, *map(from_folder, bundles or [])]
        with console.progress(f"generating clients in {language}"):
            write_package(out, LANGUAGES[language](ClientPackage(name, contracts, package, version)))
    except BundleError as error:
        raise CliError("\n  ".join(["the bundle has no contract", *map(str, error.problems)])) from None
    except (UnknownModel, StoreError, ClientError) as error:
        raise CliError(str(error)) from None
    services = [each.service for each in contracts]
    if as_json:
        console.print_json({"folder": str(out), "language": language, "services": services})
    else:
        console.out.print(f"[green]{escape(str(out))}[/] calls {', '.join(services)}; its README says how.")


def _live(store: Store, names: Sequence[str]) -> list[Contract]:
    """The contracts of the live versions of the models of those *names*, or of all."""
    generation = store.current()
    named = [generation.find(name).name for name in names]
    live = [each for each in generation.models if not named or each.name in named]
    found = [from_store(store, each.name, each.version) for each in live]
    return [each for each in found if each is not None]
