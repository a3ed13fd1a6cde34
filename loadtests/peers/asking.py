"""Asks a server, a peer or the mesh, every distinct request, and compares what it answers."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
from google.protobuf import json_format

from loadtests.bench.flights import Row
from loadtests.bench.generators import TIMEOUT_SECONDS
from loadtests.bench.scenarios import Face
from loadtests.peers.catalogue import Degraded, Dialect

TOLERANCE = 1e-5
AT_ONCE = 16
"""Requests under way at the same time, at most."""

START_SECONDS = 120.0
TRIES = 8
"""Of each request when contents are compared, with longer and longer pauses; failures are counted in measured runs."""

FIRST_PAUSE_SECONDS = 0.1

FAILURES = (httpx.HTTPError, grpc.aio.AioRpcError, Degraded)

Asker = Callable[[Sequence[Row]], Awaitable[list[float]]]


class Wrong(Exception):
    """A server gives another answer than the mesh, or none; the message says which."""


@dataclass(frozen=True, slots=True)
class Question:
    """One request and its right answer."""

    rows: Sequence[Row]
    answers: Sequence[float]


def wait_until_it_answers(address: str, dialect: Dialect, rows: Sequence[Row], failure: Callable[[], str]) -> None:
    """Returns when the server answers *rows*.

    Raises:
        Wrong: it has ended, as *failure* says, or takes too long.
    """
    end, seen = time.monotonic() + START_SECONDS, ""
    while time.monotonic() < end:
        if said := failure():
            raise Wrong(f"it ended:\n{said}")
        try:
            ask_all(address, dialect, [rows], at_once=1, tries=1)
            return
        except Wrong as error:
            seen = str(error)
            time.sleep(0.3)
    raise Wrong(f"it did not answer in {START_SECONDS:.0f} s: {seen}")


def ask_all(
    address: str, dialect: Dialect, requests: Sequence[Sequence[Row]], *, at_once: int, tries: int = TRIES
) -> list[list[float]]:
    """Probabilities that the server gives each request, *at_once* of them under way.

    Raises:
        Wrong: a request fails every time.
    """
    return asyncio.run(_ask_all(address, dialect, requests, at_once, tries))


def check(address: str, dialect: Dialect, questions: Sequence[Question], at_once: int) -> None:
    """Asks every question, *at_once* of them under way.

    Raises:
        Wrong: an answer is not the right one to within 1e-5.
    """
    found = ask_all(address, dialect, [question.rows for question in questions], at_once=at_once)
    wrong = [
        f"request {number}: {answers[:3]}, not {question.answers[:3]}"
        for number, (question, answers) in enumerate(zip(questions, found, strict=True))
        if not same(answers, question.answers)
    ]
    if wrong:
        raise Wrong(f"{len(wrong)} of {len(questions)} answers differ; {wrong[0]}")


def same(some: Sequence[float], others: Sequence[float]) -> bool:
    """Whether two lists of probabilities are equal to within 1e-5."""
    return len(some) == len(others) and all(
        math.isclose(one, other, rel_tol=0, abs_tol=TOLERANCE) for one, other in zip(some, others, strict=True)
    )


async def _ask_all(
    address: str, dialect: Dialect, requests: Sequence[Sequence[Row]], at_once: int, tries: int
) -> list[list[float]]:
    room = asyncio.Semaphore(at_once)

    async def one(ask: Asker, rows: Sequence[Row]) -> list[float]:
        async with room:
            for turn in range(tries - 1):
                with contextlib.suppress(*FAILURES):
                    return await ask(rows)
                await asyncio.sleep(FIRST_PAUSE_SECONDS * 2**turn)
            try:
                return await ask(rows)
            except FAILURES as error:
                raise Wrong(f"a request failed: {_words(error)}") from error

    if dialect.face is Face.REST:
        async with httpx.AsyncClient(base_url=f"http://{address}", timeout=TIMEOUT_SECONDS) as client:
            return await asyncio.gather(*(one(_rest(client, dialect), rows) for rows in requests))
    async with grpc.aio.insecure_channel(address) as channel:
        return await asyncio.gather(*(one(_grpc(channel, dialect), rows) for rows in requests))


def _words(error: Exception) -> str:
    body = error.response.text[:500] if isinstance(error, httpx.HTTPStatusError) else ""
    return f"{error} {body}".strip()


def _rest(client: httpx.AsyncClient, dialect: Dialect) -> Asker:
    async def ask(rows: Sequence[Row]) -> list[float]:
        answer = await client.post(dialect.path, json=dialect.body(rows))
        return dialect.answers(answer.raise_for_status().json())

    return ask


def _grpc(channel: grpc.aio.Channel, dialect: Dialect) -> Asker:
    messages: Any
    messages, services = grpc.protos_and_services(dialect.proto)
    stub = services.FlightDelayStub(channel)

    async def ask(rows: Sequence[Row]) -> list[float]:
        request = json_format.ParseDict(dialect.body(rows), messages.PredictRequest())
        return dialect.answers(json_format.MessageToDict(await stub.Predict(request, timeout=TIMEOUT_SECONDS)))

    return ask
