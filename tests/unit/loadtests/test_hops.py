import time
from pathlib import Path

import pytest
from predmesh.preprocessing.v1 import preprocessing_service_pb2 as pb
from predmesh.preprocessing.v1.preprocessing_service_pb2_grpc import PreprocessingServiceStub
from predmesh.type.v1 import tensor_pb2

from loadtests.hops import LOADS, TAKEN, Loop, Sample, Server, Socket, Way, calls, opened, serving, table

LOAD = LOADS[-1]


@pytest.mark.parametrize("server", Server)
@pytest.mark.parametrize("socket", Socket)
async def test_every_way_answers_each_caller_its_own(server: Server, socket: Socket, tmp_path: Path):
    way = Way(server, Loop.ASYNCIO, socket)
    async with serving(way, tmp_path / "socket") as address, opened(way, address) as channel:
        took = await calls(PreprocessingServiceStub(channel), LOAD, end=time.perf_counter())
    assert len(took) == LOAD.callers


class SameForAll:
    async def Transform(self, *_, **__):
        return pb.TransformResponse(tensors=[tensor_pb2.Tensor(data=b"\0" * 4)])


async def test_an_answer_to_another_request_ends_the_run():
    with pytest.raises(ExceptionGroup) as raised:
        await calls(SameForAll(), LOAD, end=time.perf_counter())
    assert raised.group_contains(ValueError, match="not that of its request")


def test_ratios_are_to_the_way_taken_in_the_same_round():
    # The machine was ten times as slow in the second round.
    other = Way(Server.AIO, Loop.UVLOOP, Socket.UNIX)
    found = {
        TAKEN: [Sample(100, 1, 40, 10), Sample(1000, 1, 400, 100)],
        other: [Sample(300, 1, 80, 20), Sample(5000, 1, 800, 200)],
    }
    *_, taken, ours = table(found)
    assert taken.endswith("| 1.00 (1.00-1.00 in 2) | 1.00 (1.00-1.00 in 2) |")
    assert ours.endswith("| 2,650 | 1 | 440 | 110 | 4.00 (3.00-5.00 in 2) | 2.00 (2.00-2.00 in 2) |")
