"""Requests for the model alone share batches, keep their own rows, and lose no bit of any datatype."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from predmesh_bundle.store import StoredBundle
from predmesh_frame import oip
from predmesh_frame.columns import Array
from predmesh_prediction.domain import Tensors
from predmesh_prediction.raw_tensors import RawModel
from predmesh_rpc import metrics
from predmesh_rpc.errors import FailedPrecondition, InvalidInput
from predmesh_rpc.translate import translate
from tritonclient.grpc import service_pb2 as pb

from tests.unit.prediction.prediction_fakes import DIGITS, FLIGHTS, Mesh, changed, stored

EDGES: dict[str, list[Any]] = {
    "BOOL": [True, False],
    "INT8": [-128, 127],
    "INT16": [-(2**15), 2**15 - 1],
    "INT32": [-(2**31), 2**31 - 1],
    "INT64": [-(2**63), 2**63 - 1],
    "UINT8": [0, 255],
    "UINT16": [0, 2**16 - 1],
    "UINT32": [0, 2**32 - 1],
    "UINT64": [0, 2**64 - 1],
    "FP16": [float("nan"), 65504.0],
    "FP32": [float("-inf"), 1e-45],
    "FP64": [float("nan"), 5e-324],
    "BYTES": [b"", b"\xff\0"],
}


class Echo:
    """Gives back what it is asked, under the outputs' names."""

    def __init__(self, rows: int = 0) -> None:
        self.seen: list[Array] = []
        self._rows = rows

    async def infer(self, bundle: StoredBundle, tensors: Tensors, outputs: tuple[str, ...]) -> Tensors:
        self.seen.extend(tensors.values())
        return {name: values[self._rows :] for name, values in zip(outputs, tensors.values(), strict=True)}

    async def ready(self, bundle: StoredBundle) -> bool:
        return True


def stored_with(datatype: str, folder: Path) -> StoredBundle:
    tensor = {"name": "x", "datatype": datatype, "shape": [1]}
    inference = {"framework": "onnx", "file": "m", "inputs": [tensor], "outputs": [{**tensor, "name": "y"}]}
    outputs = [{"name": "digit", "type": "double", "tensor": "y"}]
    return stored(changed(DIGITS, inference=inference, outputs=outputs), folder)


@pytest.mark.parametrize("datatype", EDGES)
async def test_every_value_arrives_as_it_was(datatype: str, tmp_path: Path) -> None:
    assert EDGES.keys() == oip.NUMPY.keys()
    echo = Echo()
    model = RawModel(stored_with(datatype, tmp_path), echo)
    given = np.array(EDGES[datatype], oip.dtype_of(datatype)).reshape(2, 1)
    answer = (await model.run(model.frame({"x": given}, 2)))["y"]
    assert answer.dtype == given.dtype
    assert answer.tolist() == given.tolist() or np.array_equal(answer, given, equal_nan=True)


async def test_an_answer_of_other_rows_is_the_models_fault(tmp_path: Path) -> None:
    model = RawModel(stored_with("FP32", tmp_path), Echo(rows=1))
    with pytest.raises(FailedPrecondition, match="shape"):
        await model.run(model.frame({"x": np.zeros((2, 1), "<f4")}, 2))


def request(first: float, rows: int = 1) -> Any:
    made = pb.ModelInferRequest(model_name="flight-delay.raw")
    made.inputs.add(name="x", datatype="FP32", shape=[rows, 3])
    made.raw_input_contents.append(np.array([[0, first, row] for row in range(rows)], "<f4").tobytes())
    return made


async def test_requests_that_come_while_one_travels_travel_together(mesh: Mesh) -> None:
    mesh.inference.gate = asyncio.Event()
    calls = [asyncio.ensure_future(mesh.oip.ModelInfer(request(1)))]
    await mesh.inference.entered.wait()
    calls += [asyncio.ensure_future(mesh.oip.ModelInfer(request(first, rows=2))) for first in (2, 3)]
    queue = {"batches": f"raw {mesh.inference.bundle_ids[0]}"}
    for _ in range(1000):
        if metrics.registry().get_sample_value("predmesh_prediction_queued_rows", queue) == 4:
            break
        await asyncio.sleep(0)
    mesh.inference.gate.set()
    answers = await asyncio.gather(*calls)
    assert mesh.inference.batches == [1, 4]
    for first, answer in zip((1, 2, 3), answers, strict=True):
        output = answer.outputs[0]
        values = oip.from_raw(output.datatype, output.shape, answer.raw_output_contents[0])
        assert values[:, 1] == pytest.approx([(first + row) / 100 for row in range(output.shape[0])])


async def test_more_rows_than_a_batch_takes_are_answered_whole(mesh: Mesh) -> None:
    answer = await mesh.oip.ModelInfer(request(1, rows=150))
    assert list(answer.outputs[0].shape) == [150, 2]
    assert max(mesh.inference.batches) <= FLIGHTS.inference.max_batch_rows < 150


async def test_rows_that_may_differ_in_shape_travel_alone(mesh: Mesh, tmp_path: Path) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [-1]}
    inference = FLIGHTS.model_dump(mode="json", by_alias=True)["inference"] | {"inputs": [tensor]}
    await mesh.deploy(changed(FLIGHTS, inference=inference, explanation=None))
    assert (await mesh.oip.ModelInfer(request(1))).outputs[0].shape == [1, 2]
    with pytest.raises(Exception, match="at once") as caught:
        await mesh.oip.ModelInfer(request(1, rows=65))
    assert isinstance(translate(caught.value, ""), InvalidInput)  # type: ignore[arg-type]
