import time
from pathlib import Path

import pytest
from predmesh_rpc.channels import connect
from predmesh_testing.triton import RunningTriton, needs_triton
from predmesh_testing.triton import triton as triton  # a fixture
from tritonclient.grpc import service_pb2
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from loadtests.triton_hop import LOADS, Client, Sample, address_for, calls, loaded, table

LOAD = LOADS[2]


@needs_triton
async def test_every_client_gets_its_callers_answers(triton: RunningTriton, tmp_path: Path):
    await loaded(triton, tmp_path)
    for client in Client:
        async with connect(address_for(client, triton.address)) as channel:
            took = await calls(GRPCInferenceServiceStub(channel), LOAD, end=time.perf_counter())
        assert len(took) == LOAD.callers


class SameForAll:
    async def ModelInfer(self, *_, **__):
        return service_pb2.ModelInferResponse(raw_output_contents=[b"\0" * 4])


async def test_an_answer_to_another_request_ends_the_run():
    with pytest.raises(ExceptionGroup) as raised:
        await calls(SameForAll(), LOAD, end=time.perf_counter())
    assert raised.group_contains(ValueError, match="not that of its request")


def test_ratios_are_of_the_lean_client_to_the_other_in_the_same_round():
    # The machine was ten times as slow in the second round.
    found = {
        Client.AIO: [Sample(200, 100, 10), Sample(2000, 1000, 100)],
        Client.LEAN: [Sample(100, 40, 10), Sample(1000, 500, 100)],
    }
    *_, row = table({LOAD: found})
    assert "0.50 (0.50-0.50 in 2)" in row
    assert "0.45 (0.40-0.50 in 2)" in row
