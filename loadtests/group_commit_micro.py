"""What group commit costs a request: CPU time of queueing, batching and handing back, above that of the task itself.

    .venv/bin/python -m loadtests.group_commit_micro

No network, no stage. All callers come at once, ask for nothing but their rows, and come again when all are answered.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from time import process_time

import uvloop
from predmesh_frame import Frame
from predmesh_prediction.batching import Limits
from predmesh_prediction.committing import GroupCommit
from predmesh_prediction.validation import Validator
from predmesh_rpc import context, deadline

from loadtests.prediction_micro import BUNDLE, FLIGHT

_ROUNDS = 7


async def microseconds_per_request(callers: int, rows: int, requests: int) -> float:
    """CPU time of the best of some rounds of *requests* requests, less that of as many tasks that wait for a future."""
    loop, validator = asyncio.get_running_loop(), Validator(BUNDLE)
    frames = [validator.of_instances([FLIGHT] * rows) for _ in range(callers)]

    async def run(frame: Frame) -> Frame:
        await asyncio.sleep(0)
        return frame

    async def alone(_: Frame) -> None:
        future = loop.create_future()
        loop.call_soon(future.set_result, None)
        await future

    async with asyncio.TaskGroup() as tasks:
        group = GroupCommit(run, Limits(), tasks, name="micro")

        async def together(frame: Frame) -> None:
            await group.submit(frame, 5.0)

        async def round_of(work: Callable[[Frame], Awaitable[None]]) -> float:
            async def call(frame: Frame) -> None:
                context.enter(context.Request(id="r"))
                deadline.set_expiry(loop.time() + 10)
                await work(frame)

            began = process_time()
            for _ in range(requests // callers):
                await asyncio.gather(*map(call, frames))
            return (process_time() - began) / requests * 1e6

        took = [(await round_of(together), await round_of(alone)) for _ in range(_ROUNDS)]
    return min(with_group for with_group, _ in took) - min(bare for _, bare in took)


def main() -> None:
    """Print one line a load."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=6400, help="of a round, where they have one row")
    requests = parser.parse_args().requests
    print("callers   rows   µs/request")
    for callers, rows in ((1, 1), (16, 1), (64, 1), (64, 256)):
        took = uvloop.run(microseconds_per_request(callers, rows, requests // rows // callers * callers or callers))
        print(f"{callers:7}{rows:7}{took:13.1f}")


if __name__ == "__main__":
    main()
