"""`predmesh check`, `compile`, `new`, `deploy`, `undeploy`, `models`, `clock`: all about bundles and what is live."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from predmesh_bundle.clock import ClockError, clock_to_text, parse_clock
from predmesh_bundle.contract_names import DESCRIPTORS, TEXT
from predmesh_bundle.deploying import DeployError
from predmesh_bundle.deploying import deploy as deploy_bundle
from predmesh_bundle.deploying import undeploy as undeploy_model
from predmesh_bundle.durable import write_atomically
from predmesh_bundle.generation import Generation
from predmesh_bundle.loading import FILE, load_bundle
from predmesh_bundle.problems import BundleError
from predmesh_bundle.skeleton import SkeletonError, Template, write_skeleton
from predmesh_bundle.store import Store, StoreError
from predmesh_compiler.breaks import breaks
from predmesh_compiler.compiling import (
    check_typed,
    contract_files,
    keep_lock,
    lock_is_kept,
)
from predmesh_compiler.contracts import Contract
from predmesh_compiler.earlier import from_folder, from_git, from_store, typed_compiler
from predmesh_compiler.lock import LOCK_FILE
from rich.markup import escape
from rich.table import Table

from predmesh_cli import console
from predmesh_cli.errors import CliError, ExitCode
from predmesh_cli.options import DEFAULT_HOME, HomeOption, JsonOption, open_store

app = typer.Typer()

FolderArgument = Annotated[Path, typer.Argument(help=f"The bundle: the folder that holds {FILE}.")]
TimeoutOption = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds that the services may take.")]


@app.command()
def check(
    folder: FolderArgument,
    against: Annotated[
        str | None,
        typer.Option("--against", help="What its clients use now: a folder, `git:REF` of this folder, or `live`."),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Check a bundle as a deploy would, and tell everything that is wrong, or would break clients."""
    try:
        with console.progress(f"checking {folder}"):
            compiled = check_typed(folder)[1]
            bundle = compiled.bundle
    except BundleError as error:
        if as_json:
            console.print_json({"ok": False, "problems": _problems(error)})
            raise typer.Exit(ExitCode.FAILED) from None
        raise _broken(folder, error) from None
    if against is not None:
        _check_against(folder, compiled, against, home, as_json=as_json)
    elif as_json:
        console.print_json({"ok": True, "name": bundle.name, "version": bundle.version, "problems": []})
    else:
        console.out.print(f"[green]{escape(str(folder))} is a bundle[/]: {bundle.name}, version {bundle.version}")
        console.out.print(f"Bring it live with `predmesh deploy {escape(str(folder))}`.")


@app.command(name="compile")
def compile_(
    folder: FolderArgument,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write to.", show_default="DIR/compiled")] = None,
    locked: Annotated[
        bool, typer.Option("--locked", help=f"Fail where {LOCK_FILE} would change, as CI should.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a model's own contract: .proto, descriptors, OpenAPI, JSON Schema, a page; its numbers go into the lock."""
    with _told(folder):
        with console.progress(f"compiling {folder}"):
            compiled = check_typed(folder)[1]
            kept = lock_is_kept(folder, compiled)
        if locked and not kept:
            raise CliError(
                f"{folder / LOCK_FILE} does not say all numbers of the contract",
                hint=f"run `predmesh compile {folder}` and commit the file",
            )
        keep_lock(folder, compiled)
    target = out or folder / "compiled"
    # The text lies where its package says, so that `protoc -I` and buf find it.
    contents = dict(contract_files(compiled))
    files = {compiled.file.name: contents.pop(TEXT), **contents}
    for name, content in files.items():
        write_atomically(target / name, content, durable=False)
    if as_json:
        written = [str(target / name) for name in files]
        console.print_json({"service": compiled.service, "files": written, "lock_changed": not kept})
        return
    console.out.print(f"[green]{compiled.service}[/] is in {escape(str(target))}: {', '.join(files)}")
    console.out.print(f"Stubs of any language: `buf generate {escape(str(target / DESCRIPTORS))}`.")
    if not kept:
        console.out.print(f"{escape(str(folder / LOCK_FILE))} has changed: commit it.")


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the model, e.g. my-model; the folder is called the same.")],
    template: Annotated[Template, typer.Option("--template", help="What it begins as.")] = Template.SKLEARN,
    parent: Annotated[Path, typer.Option("--in", help="Folder to make it in.")] = Path(),
    as_json: JsonOption = False,
) -> None:
    """Make the folder of a new bundle: predmesh.yaml, train.py and a README."""
    try:
        folder = write_skeleton(name, template, parent)
    except SkeletonError as error:
        raise CliError(str(error), code=ExitCode.USAGE) from None
    if as_json:
        console.print_json({"folder": str(folder), "template": template.value})
        return
    path = escape(str(folder))
    console.out.print(f"[green]{path} is there[/]: a {template.value} model to make yours.")
    console.out.print(f"Next: `uv run {path}/train.py`, then `predmesh deploy {path}`.")


@app.command()
def deploy(
    folder: FolderArgument,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in place of a live version of its number.")
    ] = False,
    default: Annotated[
        bool, typer.Option("--default/--no-default", help="Whether requests that name no version come here.")
    ] = True,
    timeout: TimeoutOption = 120.0,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Bring a bundle live: every service loads it, then the routes flip; on any trouble what was live stays."""
    store = open_store(home)
    begin = time.monotonic()
    with _told(folder), console.progress(f"deploying {folder}") as shown:
        generation = deploy_bundle(
            store,
            folder,
            replace=replace,
            default=default,
            timeout_seconds=timeout,
            on_progress=shown.step,
            compiler=typed_compiler(store),
        )
        bundle = load_bundle(folder)
    model = generation.find(bundle.name, bundle.version)
    if as_json:
        console.print_json({"generation": generation.number, **model.model_dump()})
        return
    took = time.monotonic() - begin
    console.out.print(f"[green]{model.name} version {model.version} is live[/] as {model.bundle_id} ({took:.1f} s)")
    if not model.default:
        console.out.print(f"Requests that name no version go to version {generation.find(model.name).version}.")
    if not any(each.live(time.time()) for each in store.members()):
        console.out.print("No mesh is running here; `predmesh up` starts one that serves it.")


@app.command()
def undeploy(
    name: Annotated[str, typer.Argument(help="Name of the model.")],
    version: Annotated[str | None, typer.Option("--version", help="Only this version.", show_default="all")] = None,
    early: Annotated[bool, typer.Option("--early", help="Also where the version promises to be there still.")] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Take a model, or one version of it, out of the mesh; requests under way are answered."""
    with _told(), console.progress(f"taking {name} out") as shown:
        generation = undeploy_model(open_store(home), name, version, early=early, on_progress=shown.step)
    if as_json:
        console.print_json({"generation": generation.number, "models": _models(generation)})
        return
    what = f"{name} version {version}" if version else name
    console.out.print(f"[green]{escape(what)} is no longer live[/]")
    if left := generation.versions(name):
        console.out.print(f"Requests that name no version go to version {next(x.version for x in left if x.default)}.")


@app.command()
def models(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List the live models."""
    store = open_store(home)
    with _told():
        generation = store.current()
        if as_json:
            placed = [each | {"stages": _stages(store, each["bundle_id"])} for each in _models(generation)]
            console.print_json({"generation": generation.number, "models": placed})
        elif generation.models:
            console.out.print(_table(store, generation))
            console.out.print(f"Generation {generation.number}.")
        else:
            console.out.print(
                "No model is live. `predmesh new NAME` begins one, `predmesh deploy DIR` brings one live."
            )


# A shift backwards, -60s, looks like an option.
@app.command(context_settings={"ignore_unknown_options": True})
def clock(
    setting: Annotated[
        str | None,
        typer.Argument(
            help="`system`, a time such as 2013-12-31T23:59:00Z, or a shift such as +3600s; else it is shown."
        ),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Show or set the mesh's clock, by which the ages of features are judged."""
    store = open_store(home)
    with _told():
        if setting is not None:
            store.set_clock(parse_clock(setting))
        shown = store.clock()
    if as_json:
        console.print_json({"setting": clock_to_text(shown), "now": shown.now().isoformat()})
    else:
        console.out.print(f"The mesh's clock is {clock_to_text(shown)}: it is now {shown.now():%Y-%m-%dT%H:%M:%SZ}.")


def _check_against(folder: Path, new: Contract, against: str, home: Path, *, as_json: bool) -> None:
    with _told():
        old = _earlier(folder, new, against, home)
    name, version = new.bundle.name, new.bundle.version
    if old is not None and old.bundle.name != name:
        raise CliError(f"{against} is the model {old.bundle.name}, not {name}", code=ExitCode.USAGE)
    beside = old is None or old.bundle.version != version
    found = [] if old is None or beside else breaks(old, new)
    if as_json:
        listed = [{"field": each.field, "reason": each.reason} for each in found]
        console.print_json({"ok": not found, "name": name, "version": version, "problems": [], "breaks": listed})
    elif found:
        lines = "\n  ".join([f"{folder} would break clients of {against}", *map(str, found)])
        raise CliError(lines, hint="raise `version` in predmesh.yaml: both versions then are served side by side")
    elif beside:
        there = f"there is no version {version}" if old is None else f"that is version {old.bundle.version}"
        console.out.print(f"[green]Nothing can break[/]: {escape(against)}: {there}, and this is version {version}.")
    else:
        console.out.print(f"[green]No client of {escape(against)} would break[/]: {name}, version {version}")
    if found:
        raise typer.Exit(ExitCode.FAILED)


def _earlier(folder: Path, new: Contract, against: str, home: Path) -> Contract | None:
    try:
        if against == "live":
            return from_store(open_store(home), new.bundle.name, new.bundle.version)
        if against.startswith("git:"):
            return from_git(folder, against.removeprefix("git:") or "HEAD")
        return from_folder(Path(against))
    except BundleError as error:
        listed = "\n  ".join(map(str, error.problems))
        raise CliError(f"{against} is nothing to compare with:\n  {listed}", code=ExitCode.USAGE) from None


@contextlib.contextmanager
def _told(folder: Path | None = None) -> Iterator[None]:
    """What goes wrong with bundles and stores, as this program's errors."""
    try:
        yield
    except BundleError as error:
        raise _broken(folder or Path(), error) from None
    except (DeployError, StoreError) as error:
        raise CliError(str(error)) from None
    except ClockError as error:
        raise CliError(str(error), code=ExitCode.USAGE) from None
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise CliError(f"the store cannot be used: {what}", hint="look at its rights and at free disk space") from None


def _broken(folder: Path, error: BundleError) -> CliError:
    lines = [str(folder / each.file) + str(each).removeprefix(each.file) for each in error.problems]
    count = f"{len(lines)} problems" if len(lines) > 1 else "a problem"
    text = "\n  ".join([f"{folder} has {count}", *lines])
    return CliError(text, hint=f"mend what is named, then `predmesh check {folder}`; docs/bundle.md explains every key")


def _problems(error: BundleError) -> list[dict[str, Any]]:
    return [{"file": each.file, "line": each.line, "message": each.message} for each in error.problems]


def _models(generation: Generation) -> list[dict[str, Any]]:
    return [each.model_dump() for each in generation.models]


def _table(store: Store, generation: Generation) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("MODEL", "VERSION", "DEFAULT", "STAGES", "DEPLOYED"):
        table.add_column(heading, no_wrap=True)
    table.add_column("BUNDLE", overflow="fold")  # In a narrow terminal it is the one that takes a second line.
    for each in generation.models:
        stored = store.bundle(each.bundle_id)
        deployed = f"{stored.stored_time:%Y-%m-%d %H:%M}"
        default = "yes" if each.default else ""
        table.add_row(each.name, each.version, default, str(stored.bundle.stages), deployed, each.bundle_id)
    return table


def _stages(store: Store, bundle_id: str) -> dict[str, str]:
    return store.bundle(bundle_id).bundle.stages.model_dump(mode="json")
