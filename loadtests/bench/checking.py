"""Checks the contents of answers: every distinct request must get, among others, what it gets alone."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format
from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh.prediction.v1.prediction_service_pb2_grpc import PredictionServiceStub

from loadtests.bench.asking import Ask
from loadtests.bench.generators import TIMEOUT_SECONDS, tool, write_posts

TOLERANCE = 1e-6
AT_ONCE = 16
ROWS_ALONE = 100
"""Of the calls that tell what is expected; only one is under way at a time."""
ATTEMPTS = 5
"""Of such a call: a machine that is busy otherwise may not keep the model's budget."""
SHOWN = 3

Prediction = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Check:
    """What came of checking contents.

    Attributes:
        where: face and address that were asked.
        answers: how many were looked at, one a distinct request.
        wrong: what is wrong with those that failed, differ or are degraded; empty when all is well.
    """

    where: str
    answers: int
    wrong: tuple[str, ...]

    def __str__(self) -> str:
        if not self.wrong:
            return f"{self.where}: {self.answers:,} answers, all right"
        return f"{self.where}: {len(self.wrong):,} of {self.answers:,} answers wrong: {'; '.join(self.wrong[:SHOWN])}"


class NoAnswer(Exception):
    """A request asked alone was not answered well, so there is nothing to compare with."""


def expected(direct: str, asked: Sequence[Ask]) -> list[list[Prediction]]:
    """What each request gets when nothing else is under way: its rows' predictions, asked of the socket *direct*.

    Raises:
        NoAnswer: it is not answered, or degraded.
    """
    return asyncio.run(_expected(direct, asked))


def check_grpc(host: str, asked: Sequence[Ask], wanted: Sequence[Sequence[Prediction]]) -> Check:
    """Calls *host* with every request, AT_ONCE at once."""
    return _check(f"gRPC at {host}", enumerate(asyncio.run(_all(host, asked))), wanted)


def check_rest(host: str, asked: Sequence[Ask], wanted: Sequence[Sequence[Prediction]], folder: Path) -> Check:
    """Posts every request to *host*, AT_ONCE at once; *folder* takes what vegeta reads."""
    # The fragment stays with the client, and comes back with the answer.
    posts = [(f"http://{host}{ask.path}#{number}", ask.body) for number, ask in enumerate(asked)]
    targets = write_posts(folder / "check.targets", posts)
    words = f"attack -lazy -format=json -rate=0 -max-workers={AT_ONCE} -timeout={TIMEOUT_SECONDS}s -targets={targets}"
    sent = subprocess.run([tool("vegeta"), *words.split()], check=True, capture_output=True)
    told = subprocess.run([tool("vegeta"), "encode", "-to=json"], input=sent.stdout, check=True, capture_output=True)
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    # A line without a URL says that there were no more targets.
    return _check(f"REST at {host}", (_vegeta_answer(line) for line in lines if line["url"]), wanted)


def problem(answer: Mapping[str, Any], wanted: Sequence[Prediction]) -> str:
    """What is wrong with the JSON of a PredictResponse; empty when nothing is."""
    if "error" in answer:
        return f"failed: {answer['error']}"
    if answer.get("degraded"):
        return f"is degraded: {answer['degraded']}"
    if not close(answer.get("predictions"), wanted):
        return f"is {answer.get('predictions')}, not {wanted}"
    return ""


def close(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same, numbers to within 1e-6."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(close, one, other))
    if isinstance(one, float | int) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=0, abs_tol=TOLERANCE)
    return bool(one == other)


def _check(
    where: str, answers: Iterable[tuple[int, Mapping[str, Any]]], wanted: Sequence[Sequence[Prediction]]
) -> Check:
    found = dict(answers)
    missing = [f"request {number} has no answer" for number in range(len(wanted)) if number not in found]
    problems = ((number, problem(answer, wanted[number])) for number, answer in found.items())
    wrong = [f"request {number} {words}" for number, words in problems if words]
    return Check(where, len(wanted), (*missing, *wrong))


def _vegeta_answer(line: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
    number, body = int(line["url"].rpartition("#")[2]), base64.b64decode(line["body"] or "")
    if line["code"] != 200:
        return number, {"error": f"{line['code']} {line['error']} {body[:200]!r}"}
    return number, json.loads(body)


async def _expected(direct: str, asked: Sequence[Ask]) -> list[list[Prediction]]:
    found: dict[int, list[Prediction]] = {}
    async with grpc.aio.insecure_channel(direct) as channel:
        for model in {ask.model for ask in asked}:
            places = [(number, row) for number, ask in enumerate(asked) if ask.model == model for row in ask.rows]
            for start in range(0, len(places), ROWS_ALONE):
                part = places[start : start + ROWS_ALONE]
                predictions = await _alone(channel, Ask(model, [row for _, row in part]))
                for (number, _), prediction in zip(part, predictions, strict=True):
                    found.setdefault(number, []).append(prediction)
    return [found[number] for number in range(len(asked))]


async def _alone(channel: grpc.aio.Channel, ask: Ask) -> list[Prediction]:
    answer: Mapping[str, Any] = {}
    for _ in range(ATTEMPTS):
        answer = await _asked(channel, ask)
        if "error" not in answer and not answer.get("degraded"):
            return list(answer["predictions"])
    raise NoAnswer(f"{ask.model} asked alone {problem(answer, [])}")


async def _all(host: str, asked: Sequence[Ask]) -> list[Mapping[str, Any]]:
    room = asyncio.Semaphore(AT_ONCE)
    async with grpc.aio.insecure_channel(host) as channel:

        async def one(ask: Ask) -> Mapping[str, Any]:
            async with room:
                return await _asked(channel, ask)

        return await asyncio.gather(*map(one, asked))


async def _asked(channel: grpc.aio.Channel, ask: Ask) -> Mapping[str, Any]:
    stub: Any = PredictionServiceStub(channel)
    try:
        answer = await stub.Predict(json_format.ParseDict(ask.message, pb.PredictRequest()), timeout=TIMEOUT_SECONDS)
    except grpc.aio.AioRpcError as error:
        return {"error": f"{error.code().name} {error.details()}"}
    return json_format.MessageToDict(answer)
