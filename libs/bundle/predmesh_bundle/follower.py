"""Keeps a service at the store's live generation: loads what is new, says so, flips, and drops what is old.

Decides nothing about models: what loading and routing mean is the service's `Loader`.
"""

import asyncio
import gc
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, TypeVar

from predmesh_bundle.clock import FollowedClock
from predmesh_bundle.generation import EMPTY, Generation
from predmesh_bundle.members import HEARTBEAT_SECONDS, LOST_SECONDS, Acknowledgement, Member
from predmesh_bundle.store import Store, StoredBundle

log = logging.getLogger(__name__)

_Found = TypeVar("_Found")

FIRST_RETRY_SECONDS = 0.5
"""Wait before a bundle that failed is tried again; doubles each time."""
LAST_RETRY_SECONDS = 15.0
"""Longest wait before a bundle that failed is tried again."""


class Loader(Protocol):
    """What a service does with bundles."""

    async def load(self, bundle: StoredBundle) -> None:
        """Get ready to serve *bundle*; again changes nothing. Whatever it raises says why it cannot."""
        ...

    async def unload(self, bundle_id: str) -> None:
        """Let go of a bundle; one that is not loaded is no error."""
        ...

    async def flip(self, generation: Generation) -> None:
        """Serve *generation* from now on. Bundles that failed to load are in it all the same."""
        ...


@dataclass(slots=True)
class _Holding:
    """What became of one bundle here."""

    loaded: bool = False
    routed: bool = False
    """Whether requests may have reached it, so that it must drain before it goes."""
    task: asyncio.Task[None] | None = None
    """The load or unload at work."""
    error: str | None = None
    failed_for: int | None = None
    """Number of the proposal that the last failure answered."""
    failures: int = 0
    due: float = 0.0
    """Loop time before which nothing is tried again."""
    unload_at: float | None = None

    def failed(self, error: Exception, now: float) -> None:
        """Note a failure and put the next attempt off."""
        self.error = str(error) or type(error).__name__
        self.due = now + min(FIRST_RETRY_SECONDS * 2**self.failures, LAST_RETRY_SECONDS)
        self.failures = min(self.failures + 1, 16)

    def succeeded(self) -> None:
        """Note that the bundle is loaded."""
        self.loaded, self.error, self.failures, self.due = True, None, 0, 0.0


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the store said when it was last read."""

    signature: object
    current: Generation
    proposed: Generation | None

    @property
    def wanted(self) -> frozenset[str]:
        """Bundles that must be here."""
        return self.current.bundle_ids | (self.proposed.bundle_ids if self.proposed else frozenset())

    @property
    def new(self) -> frozenset[str]:
        """Bundles that the proposal alone needs."""
        return self.wanted - self.current.bundle_ids


class Follower:
    """Follows the store for as long as its block is open.

    Files are written and read by a thread of its own: where others keep the disk busy, a rename takes 150 ms, and the
    loop answers predictions.
    """

    def __init__(
        self,
        store: Store,
        *,
        service: str,
        instance: str,
        loader: Loader,
        poll_seconds: float = 0.1,
        drain_seconds: float = 5.0,
    ) -> None:
        """Follow *store* as *instance* of *service*.

        Args:
            store: what is followed.
            service: what this is an instance of, e.g. `features`.
            instance: name of this instance, unique in the mesh.
            loader: what loads, unloads and routes.
            poll_seconds: how often the store is looked at; a look costs three stats.
            drain_seconds: how long a bundle stays loaded after the routes left it.
        """
        self.clock = FollowedClock()
        self._store = store
        self._service = service
        self._instance = instance
        self._loader = loader
        self._poll_seconds = poll_seconds
        self._drain_seconds = drain_seconds
        self._holdings: dict[str, _Holding] = {}
        self._seen: _Seen | None = None
        self._flipped: Generation | None = None
        self._flip_due = 0.0
        self._answered: tuple[int, str | None] | None = None
        self._problems: dict[str, str] = {}
        self._changed = asyncio.Event()
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._tasks = asyncio.TaskGroup()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start following; the first generation is loaded in the background."""
        # Before anything is loaded, so that a deployer knows whom to wait for.
        await self._attempt("member file", self._announce())
        self._task = asyncio.create_task(self._run(), name=f"follower of {self._instance}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop following and leave the mesh; what is loaded stays with the loader."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._attempt("member file", self._by_disk(self._store.leave, self._instance))
        self._disk.shutdown(wait=False)

    @property
    def generation(self) -> Generation:
        """The generation that is routed; the empty one before the first."""
        return self._flipped or EMPTY

    def ready(self) -> bool:
        """Whether the live generation is routed and all of it loaded; trouble with the store alone hinders nobody."""
        seen = self._seen
        return (
            seen is not None
            and self._flipped == seen.current
            and all(self._loaded(each) for each in seen.current.bundle_ids)
        )

    def problem(self) -> str | None:
        """What keeps this service from serving all that is live; None where nothing does."""
        live = self._seen.current.bundle_ids if self._seen else ()
        broken = [
            f"bundle {bundle_id} cannot be loaded: {holding.error}"
            for bundle_id, holding in sorted(self._holdings.items())
            if holding.error is not None and bundle_id in live
        ]
        return "; ".join([*self._problems.values(), *broken]) or None

    async def _run(self) -> None:
        async with self._tasks:
            self._tasks.create_task(self._beat(), name=f"heartbeat of {self._instance}")
            while True:
                try:
                    await self._step()
                except Exception:
                    log.exception("a step of the follower failed", extra={"instance": self._instance})
                await self._pause()

    async def _beat(self) -> None:
        while True:
            await self._attempt("member file", self._announce())
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def _announce(self) -> None:
        number = self._flipped.number if self._flipped else 0
        member = Member(self._instance, self._service, os.getpid(), time.time(), socket.gethostname(), number)
        await self._by_disk(self._store.announce, member)

    async def _pause(self) -> None:
        """Until a task here has ended, or it is time to look at the store again."""
        # Ten times a second in every process: a timer alone costs a third of `asyncio.timeout`.
        alarm = asyncio.get_running_loop().call_later(self._poll_seconds, self._changed.set)
        try:
            await self._changed.wait()
        finally:
            alarm.cancel()
        self._changed.clear()

    async def _step(self) -> None:
        await self._attempt("store", self._look())
        if self._seen is None:
            return
        self._start_loads(self._seen)
        if self._seen.proposed is not None:
            await self._answer(self._seen, self._seen.proposed)
        await self._flip(self._seen.current)
        await self._drop_unused(self._seen)

    async def _look(self) -> None:
        """Read the store where it has changed; on failure what was seen before stands."""
        # The signature first: what changes while we read is then read again. Three stats wait for no disk.
        signature = self._store.signature()
        if self._seen is not None and self._seen.signature == signature:
            return
        clock = await self._by_disk(self._store.clock)
        current = await self._by_disk(self._store.current)
        self._seen = _Seen(signature, current, await self._by_disk(self._store.proposed))
        self.clock.follow(clock)

    def _start_loads(self, seen: _Seen) -> None:
        for bundle_id in sorted(seen.wanted):
            holding = self._holdings.setdefault(bundle_id, _Holding())
            holding.unload_at = None
            if not holding.loaded and holding.task is None and self._may_try(bundle_id, holding, seen):
                self._start(holding, self._load(bundle_id, holding))

    def _may_try(self, bundle_id: str, holding: _Holding, seen: _Seen) -> bool:
        """A live bundle is tried again and again, a proposed one once a proposal: its deployer wants an answer."""
        if holding.error is None:
            return True
        if bundle_id in seen.new:
            return seen.proposed is not None and holding.failed_for != seen.proposed.number
        return self._now() >= holding.due

    async def _load(self, bundle_id: str, holding: _Holding) -> None:
        proposed = self._seen.proposed if self._seen else None
        try:
            await self._loader.load(await self._by_disk(self._store.bundle, bundle_id))
        except Exception as error:
            log.warning("bundle cannot be loaded", extra={"bundle_id": bundle_id}, exc_info=True)
            holding.failed_for = proposed.number if proposed else None
            holding.failed(error, self._now())
        else:
            log.info("bundle loaded", extra={"bundle_id": bundle_id})
            holding.succeeded()

    async def _answer(self, seen: _Seen, proposed: Generation) -> None:
        """Acknowledge the proposal once all that is new is loaded; refuse it at the first failure."""
        new = [(bundle_id, self._holdings[bundle_id]) for bundle_id in sorted(seen.new)]
        errors = [f"{each}: {held.error}" for each, held in new if held.error and held.failed_for == proposed.number]
        error = "; ".join(errors) or None
        if (error is None and not all(held.loaded for _, held in new)) or self._answered == (proposed.number, error):
            return
        answer = Acknowledgement(self._instance, self._service, error is None, error or "")
        if await self._attempt("answer", self._by_disk(self._store.acknowledge, proposed.number, answer)):
            self._answered = (proposed.number, error)

    async def _flip(self, current: Generation) -> None:
        """Route the live generation once each of its bundles has been tried."""
        if current is self._flipped or current == self._flipped or self._now() < self._flip_due:
            return
        if any(not self._loaded(each) and self._holdings[each].error is None for each in current.bundle_ids):
            return
        try:
            await self._loader.flip(current)
        except Exception as error:
            self._problem("flip", f"generation {current.number} cannot be routed: {error}")
            self._flip_due = self._now() + FIRST_RETRY_SECONDS
            return
        log.info("generation is live", extra={"generation": current.number})
        self._problems.pop("flip", None)
        self._flipped = current
        for bundle_id in current.bundle_ids & self._holdings.keys():
            self._holdings[bundle_id].routed = True
        await self._attempt("member file", self._announce())

    async def _drop_unused(self, seen: _Seen) -> None:
        used = seen.wanted | (self._flipped.bundle_ids if self._flipped else frozenset())
        drained = []
        for bundle_id in sorted(self._holdings.keys() - used):
            holding = self._holdings[bundle_id]
            if holding.unload_at is None:
                holding.unload_at = self._now() + (self._drain_seconds if holding.routed else 0.0)
                if holding.task is not None:
                    holding.task.cancel()
            late = self._now() - holding.unload_at
            if holding.task is None and late >= 0:
                drained.append((bundle_id, holding, not holding.routed or late > LOST_SECONDS))
        if drained:
            past = all(sure for *_, sure in drained) or await self._all_past(seen.current.number)
            for bundle_id, holding, sure in drained:
                if sure or past:
                    self._start(holding, self._unload(bundle_id, holding))

    async def _all_past(self, number: int) -> bool:
        """Whether no other member can still send requests to what generation *number* has not."""
        members, now = await self._by_disk(self._store.members), time.time()
        return all(each.generation >= number for each in members if each.live(now))

    async def _unload(self, bundle_id: str, holding: _Holding) -> None:
        holding.loaded = False
        try:
            await self._loader.unload(bundle_id)
        except Exception as error:
            log.warning("bundle cannot be unloaded", extra={"bundle_id": bundle_id}, exc_info=True)
            holding.failed(error, self._now())
            holding.unload_at = holding.due
        else:
            log.info("bundle unloaded", extra={"bundle_id": bundle_id})
            self._holdings.pop(bundle_id, None)
            self._store.release(bundle_id)
            # What a bundle was compiled into refers to itself, and services look for such garbage seldom.
            gc.collect()

    def _start(self, holding: _Holding, work: Coroutine[None, None, None]) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            holding.task = None
            self._changed.set()

        holding.task = self._tasks.create_task(work)
        holding.task.add_done_callback(ended)

    def _loaded(self, bundle_id: str) -> bool:
        holding = self._holdings.get(bundle_id)
        return holding is not None and holding.loaded

    async def _by_disk(self, act: Callable[..., _Found], *given: object) -> _Found:
        return await asyncio.get_running_loop().run_in_executor(self._disk, act, *given)

    async def _attempt(self, what: str, act: Awaitable[None]) -> bool:
        """Whether *act* went well; its failure is a problem of this service until it does."""
        try:
            await act
        except Exception as error:
            self._problem(what, str(error) or type(error).__name__)
            return False
        self._problems.pop(what, None)
        return True

    def _problem(self, what: str, text: str) -> None:
        if self._problems.get(what) != text:
            log.warning("the store cannot be followed as it should", extra={"part": what, "problem": text})
        self._problems[what] = text

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
