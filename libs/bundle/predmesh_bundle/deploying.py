"""Brings a bundle live, or takes one out: one generation at a time, all services or none."""

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from predmesh_bundle.compiling import compile_bundle
from predmesh_bundle.generation import Generation, LiveModel, UnknownModel, with_model, without_model
from predmesh_bundle.members import Acknowledgement, Member
from predmesh_bundle.schema import Bundle
from predmesh_bundle.store import Store, StoreError, identify

POLL_SECONDS = 0.02
"""How often the members' answers are looked at."""
SETTLE_SECONDS = 3.0
"""How long a deploy waits to see the members route what is live already; they do so in any case."""

Progress = Callable[[str], None]
"""Told what happens, a line each."""

Compiler = Callable[[Path, Path], Bundle]
"""Checks the bundle in a folder and writes its compiled form to another; raises BundleError."""


class DeployError(Exception):
    """What was live stays live; the message says why and what to do next."""


class VersionTaken(DeployError):
    """The version is live with other content."""


class DeployerBusy(DeployError):
    """Another deploy is at work."""


class Refused(DeployError):
    """A service could not load what is new."""


class TimedOut(DeployError):
    """A service has not answered in time."""


def deploy(
    store: Store,
    folder: Path,
    *,
    replace: bool = False,
    default: bool = True,
    timeout_seconds: float = 120.0,
    on_progress: Progress | None = None,
    compiler: Compiler = compile_bundle,
) -> Generation:
    """Bring the bundle in *folder* live; again with the same content changes nothing.

    Args:
        store: where the mesh looks.
        folder: the bundle.
        replace: whether a live version of the same number but with other content gives way.
        default: whether requests that name no version come here; a model's first version takes them in any case.
        timeout_seconds: how long the services may take to load it.
        on_progress: told what happens, a line each.
        compiler: what compiles it; `predmesh_compiler.compile_typed` adds the model's own contract.

    Returns:
        The live generation.

    Raises:
        BundleError: something is wrong with the bundle; tells everything that is.
        DeployError: it cannot go live; what was live before stays.
    """
    tell = on_progress or _quiet
    with _only_deployer(store), tempfile.TemporaryDirectory(prefix=".deploy-", dir=store.root) as drafts:
        compiled = Path(drafts) / "bundle"
        tell("checking and compiling")
        bundle = compiler(folder, compiled)
        bundle_id = identify(compiled)
        _check_version(store.current(), bundle, bundle_id, replace=replace)
        tell(f"storing {bundle_id}")
        store.put(compiled)
        model = LiveModel(name=bundle.name, version=bundle.version, bundle_id=bundle_id, default=default)
        return _bring_live(store, with_model(store.current().models, model), timeout_seconds, tell)


def undeploy(
    store: Store,
    name: str,
    version: str | None = None,
    *,
    early: bool = False,
    on_progress: Progress | None = None,
) -> Generation:
    """Take a version of a model out, or all of them; where the default goes, the highest version left becomes it.

    Args:
        store: where the mesh looks.
        name: the model.
        version: its version; None for all.
        early: whether a deprecated version goes before the day that it promises.
        on_progress: told what happens, a line each.

    Returns:
        The live generation.

    Raises:
        DeployError: no such model is live, it promises to be there still, or another deploy is at work.
    """
    with _only_deployer(store):
        try:
            store.current().find(name, version or "")
        except UnknownModel as error:
            raise DeployError(f"{error} (`predmesh models` lists what is live)") from error
        for live in store.current().versions(name):
            if not early and version in (None, live.version):
                _check_promise(store.bundle(live.bundle_id).bundle)
        return _bring_live(store, without_model(store.current().models, name, version), 0, on_progress or _quiet)


def _bring_live(store: Store, models: tuple[LiveModel, ...], timeout_seconds: float, tell: Progress) -> Generation:
    current = store.current()
    if models == current.models:
        tell(f"generation {current.number} serves this already")
        return current
    generation = Generation(number=store.next_number(), models=models, created=datetime.now(UTC))
    store.write_generation(generation)
    # Where nothing is new there is nothing to prepare, and a service in trouble must not keep a model from going.
    if generation.bundle_ids - current.bundle_ids:
        _prepare(store, generation, timeout_seconds, tell)
    store.flip(generation.number)
    store.withdraw()
    tell(f"generation {generation.number} is live")
    _settle(store, generation, tell)
    try:
        store.forget(each.instance for each in store.members() if not each.live(time.time()))
        store.prune()
    except (OSError, StoreError) as error:
        # The deploy has succeeded; what is left over is tried again after the next one.
        tell(f"old bundles could not be removed: {error}")
    return generation


def _prepare(store: Store, generation: Generation, timeout_seconds: float, tell: Progress) -> None:
    """Wait until every live member has loaded what is new; on any trouble the proposal is withdrawn."""
    store.propose(generation.number)
    try:
        _await_members(store, generation, timeout_seconds, tell)
    except BaseException:
        store.withdraw()
        raise


def _await_members(store: Store, generation: Generation, timeout_seconds: float, tell: Progress) -> None:
    deadline = time.monotonic() + timeout_seconds
    waiting: list[Member] | None = None
    while True:
        answers = store.acknowledgements(generation.number)
        refusals = [each for each in answers.values() if not each.ok]
        if refusals:
            raise Refused(_refusal(refusals))
        missing = [each for each in _live_members(store) if each.instance not in answers]
        if missing != waiting and missing:
            tell(f"waiting for {_named(missing)} to load it")
        if not missing:
            return
        waiting = missing
        if time.monotonic() >= deadline:
            raise TimedOut(_lateness(missing, timeout_seconds))
        time.sleep(POLL_SECONDS)


def _settle(store: Store, generation: Generation, tell: Progress) -> None:
    """Wait, for a while, until the members route the generation, so that a caller's next request finds it."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while late := [each for each in _live_members(store) if each.generation < generation.number]:
        if time.monotonic() >= deadline:
            tell(f"{_named(late)} will follow")
            return
        time.sleep(POLL_SECONDS)


def _live_members(store: Store) -> list[Member]:
    now = time.time()
    return [each for each in store.members() if each.live(now)]


def _check_promise(bundle: Bundle) -> None:
    sunset = bundle.deprecated.sunset if bundle.deprecated else None
    if sunset is not None and datetime.now(UTC).date() < sunset:
        raise DeployError(
            f"{bundle.name} version {bundle.version} promises its callers to be there until {sunset} "
            "(`deprecated.sunset`): wait, or say --early"
        )


def _check_version(current: Generation, bundle: Bundle, bundle_id: str, *, replace: bool) -> None:
    for each in current.versions(bundle.name):
        if each.version == bundle.version and each.bundle_id != bundle_id and not replace:
            raise VersionTaken(
                f"{bundle.name} version {bundle.version} is live with other content, {each.bundle_id}: "
                "raise `version` in predmesh.yaml, or deploy with --replace"
            )


def _refusal(refusals: list[Acknowledgement]) -> str:
    causes = "; ".join(f"{each.service or each.instance} ({each.instance}) says: {each.error}" for each in refusals)
    service = refusals[0].service or refusals[0].instance
    return f"{causes}. What was live stays live; `predmesh logs {service}` tells more"


def _lateness(missing: list[Member], timeout_seconds: float) -> str:
    return (
        f"{_named(missing)} did not answer within {timeout_seconds:g} s. What was live stays live; "
        f"look into `predmesh logs {missing[0].service}`, or deploy with a longer --timeout"
    )


def _named(members: list[Member]) -> str:
    return ", ".join(f"{each.service} ({each.instance})" for each in members)


@contextlib.contextmanager
def _only_deployer(store: Store) -> Iterator[None]:
    """Hold the store's lock; the system lets go of it when the process ends, however it ends."""
    store.root.mkdir(parents=True, exist_ok=True)
    with (store.root / "deploy.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise DeployerBusy(
                f"another deploy is at work (process {file.read().strip()}): wait for it to end, then try again"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        store.sweep()
        yield


def _quiet(line: str) -> None:
    """Say nothing."""
