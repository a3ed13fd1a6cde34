import numpy as np
import pytest
from predmesh_frame import FrameError
from predmesh_frame.oip import NUMPY, datatype_of, dtype_of, from_contents, from_raw, to_raw
from tritonclient.grpc import service_pb2
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor


@pytest.mark.parametrize("datatype", NUMPY)
def test_names_and_types_are_one_to_one(datatype: str) -> None:
    assert datatype_of(dtype_of(datatype)) == datatype


def test_bytes_are_laid_out_as_tritonclient_does() -> None:
    array = np.array([b"one", b"", b"drei"], dtype=object)
    assert to_raw(array) == serialize_byte_tensor(array).item()
    assert from_raw("BYTES", [3], to_raw(array)).tolist() == deserialize_bytes_tensor(to_raw(array)).tolist()


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [
        ("BOOL", "bool_contents", [True, False]),
        ("INT8", "int_contents", [-1, 2]),
        ("INT64", "int64_contents", [-1, 2**40]),
        ("UINT16", "uint_contents", [1, 2]),
        ("UINT64", "uint64_contents", [1, 2**63]),
        ("FP32", "fp32_contents", [0.5, 2.0]),
        ("FP64", "fp64_contents", [0.1, 2.0]),
        ("BYTES", "bytes_contents", [b"a", b""]),
    ],
)
def test_typed_contents_become_an_array(datatype: str, field: str, values: list[object]) -> None:
    contents = service_pb2.InferTensorContents(**{field: values})
    array = from_contents(datatype, [2, 1], contents)
    assert array.shape == (2, 1)
    assert array.ravel().tolist() == values


@pytest.mark.parametrize(
    ("datatype", "shape", "reason"),
    [("FP16", [1], "raw_input_contents"), ("INT8", [1], "does not fit"), ("INT8", [2], "holds 1 values")],
)
def test_contents_that_do_not_fit_are_refused(datatype: str, shape: list[int], reason: str) -> None:
    with pytest.raises(FrameError, match=reason):
        from_contents(datatype, shape, service_pb2.InferTensorContents(int_contents=[1000]))


def test_elements_that_are_neither_text_nor_bytes_are_refused() -> None:
    with pytest.raises(FrameError, match="neither text nor bytes"):
        to_raw(np.array([object()], dtype=object))
