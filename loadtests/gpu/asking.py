"""Callers of the Open Inference Protocol over gRPC, in a closed loop; each answer is compared with the known one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as pb

from loadtests.bench.generators import ERRORS, TIMEOUT_SECONDS
from loadtests.bench.runs import Load, Run
from loadtests.gpu.offline import Floats

INFER = "/inference.GRPCInferenceService/ModelInfer"
TOLERANCE = 1e-4
CONNECTIONS = 4


@dataclass(frozen=True, slots=True)
class Question:
    """One request, ready to be sent, and its right answer."""

    message: bytes
    answer: Floats


@dataclass(slots=True)
class Tally:
    """What came of the requests so far."""

    seconds: list[float] = field(default_factory=list)
    """Of each that was answered right."""
    problems: list[str] = field(default_factory=list)
    """Of each other."""

    def run(self, name: str, load: Load, took: float) -> Run:
        """All of them, which *took* so many seconds together."""
        p50, p95, p99 = np.percentile(self.seconds, (50, 95, 99)) * 1e3 if self.seconds else (np.nan,) * 3
        return Run(
            name=name,
            load=load,
            requests=len(self.seconds) + len(self.problems),
            failed=len(self.problems),
            per_second=len(self.seconds) / took,
            p50_ms=float(p50),
            p95_ms=float(p95),
            p99_ms=float(p99),
            errors=tuple(dict.fromkeys(self.problems))[:ERRORS],
        )


def questions(model: str, images: Floats, answers: Floats, rows: int) -> list[Question]:
    """Requests of *rows* images each, as binary tensors.

    Raises:
        ValueError: two requests have the same answer to within ten tolerances, so mixed up answers would pass.
    """
    starts = range(0, len(images) - rows + 1, rows)
    wanted = np.stack([answers[start : start + rows].ravel() for start in starts])
    nearest = min(float(np.abs(wanted[at + 1 :] - wanted[at]).max(axis=1).min()) for at in range(len(wanted) - 1))
    if nearest < 10 * TOLERANCE:
        raise ValueError(f"two requests have answers only {nearest:g} apart: a wrong one could not be told")
    return [Question(message(model, images[at : at + rows]), answers[at : at + rows]) for at in starts]


def message(model: str, images: Floats) -> bytes:
    """A ModelInferRequest."""
    request = pb.ModelInferRequest(model_name=model, raw_input_contents=[images.astype("<f4").tobytes()])
    request.inputs.add(name="image", datatype="FP32", shape=images.shape)
    return bytes(request.SerializeToString())


def problem(response: Any, wanted: Floats) -> str:
    """What is wrong with a ModelInferResponse; empty when nothing is."""
    (output,), (raw,) = response.outputs, response.raw_output_contents
    if tuple(output.shape) != wanted.shape or output.datatype != "FP32":
        return f"is {output.datatype} {list(output.shape)}, not FP32 {list(wanted.shape)}"
    off = float(np.abs(np.frombuffer(raw, "<f4").reshape(wanted.shape) - wanted).max())
    # Not `off > TOLERANCE`: NaN must not pass.
    return "" if off <= TOLERANCE else f"differs by {off:g}"


async def ask(address: str, asked: Sequence[Question], load: Load, name: str) -> Run:
    """Sends *asked* in turn from the callers of *load* until its time is over."""
    tally, numbers = Tally(), iter(range(10**9))
    # Channels of equal options share one connection; a number of its own gives each another.
    channels = [grpc.aio.insecure_channel(address, options=[("predmesh.number", at)]) for at in range(CONNECTIONS)]
    calls: list[Any] = [channel.unary_unary(INFER, None, pb.ModelInferResponse.FromString) for channel in channels]
    begin = time.perf_counter()

    async def caller(call: Any) -> None:
        while (sent := time.perf_counter()) < begin + load.seconds:
            question = asked[next(numbers) % len(asked)]
            try:
                response = await call(question.message, timeout=TIMEOUT_SECONDS)
            except grpc.aio.AioRpcError as error:
                tally.problems.append(f"{error.code().name}: {error.details()}")
                continue
            took = time.perf_counter() - sent
            if wrong := problem(response, question.answer):
                tally.problems.append(wrong)
            else:
                tally.seconds.append(took)

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(load.concurrency):
                group.create_task(caller(calls[number % CONNECTIONS]))
        return tally.run(name, load, time.perf_counter() - begin)
    finally:
        await asyncio.gather(*(channel.close() for channel in channels))
