import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from predmesh.type.v1 import frame_pb2, tensor_pb2
from predmesh_frame import Column, DataType, Frame, FrameError
from predmesh_frame.wire import frame_from_proto, frame_to_proto, tensor_from_proto, tensor_to_proto

VALUES = {
    DataType.BOOL: st.booleans(),
    DataType.INT32: st.integers(-(2**31), 2**31 - 1),
    DataType.INT64: st.integers(-(2**63), 2**63 - 1),
    DataType.FLOAT: st.floats(width=32),
    DataType.DOUBLE: st.floats(),
    DataType.STRING: st.text(),
    DataType.BYTES: st.binary(),
    DataType.TIMESTAMP: st.integers(-(2**62), 2**62),
}


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    rows = draw(st.integers(0, 5))
    types = draw(st.lists(st.sampled_from(DataType), max_size=4))
    columns = {
        f"c{number}": Column.of(type, draw(st.lists(st.none() | VALUES[type], min_size=rows, max_size=rows)))
        for number, type in enumerate(types)
    }
    return Frame(rows, columns)


@given(frames(), st.booleans())
def test_a_frame_survives_the_wire(frame: Frame, readable: bool) -> None:
    data = frame_to_proto(frame, readable=readable).SerializeToString()
    assert frame_from_proto(frame_pb2.Frame.FromString(data)) == frame


@pytest.mark.parametrize("readable", [False, True], ids=["packed", "readable"])
@pytest.mark.parametrize("type", DataType, ids=lambda type: type.name)
def test_rows_with_a_shape_survive_the_wire(type: DataType, readable: bool) -> None:
    one = {DataType.STRING: "a", DataType.BYTES: b"a", DataType.BOOL: True}.get(type, 1)
    frame = Frame.of({"x": Column.of(type, [[[one], [one]], None], row_shape=(2, 1))})
    assert frame_from_proto(frame_to_proto(frame, readable=readable)) == frame


def column(**fields: object) -> frame_pb2.Frame:
    return frame_pb2.Frame(rows=2, columns=[frame_pb2.Column(**{"name": "x", "type": 4, **fields})])  # type: ignore


@pytest.mark.parametrize(
    ("pb", "reason"),
    [
        (column(packed=b"1234567"), "holds 7 packed bytes where 2 rows take 8"),
        (column(name="", packed=b"12345678"), "no name"),
        (column(type=0, packed=b"12345678"), "no known type"),
        (column(type=99, packed=b"12345678"), "no known type"),
        (column(packed=b"12345678", validity=b"1"), "1 validity bytes"),
        (column(packed=b"12345678", row_shape=[0]), "dimension below 1"),
        (column(), "no values"),
        (column(strings={"values": ["a", "b"]}), "send doubles or packed"),
        (column(doubles={"values": [1.0]}), "holds 1 values where 2 rows take 2"),
        (column(type=6, packed=b"12345678"), "cannot be packed"),
        (column(type=2, integers={"values": [1, 2**40]}), "does not fit INT32"),
    ],
)
def test_a_broken_column_is_refused_with_its_reason(pb: frame_pb2.Frame, reason: str) -> None:
    with pytest.raises(FrameError, match=reason):
        frame_from_proto(pb)


def test_a_column_may_not_come_twice() -> None:
    pb = column(doubles={"values": [1.0, 2.0]})
    pb.columns.append(pb.columns[0])
    with pytest.raises(FrameError, match="there twice"):
        frame_from_proto(pb)


@pytest.mark.parametrize("dtype", ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", ">f4"])
def test_a_tensor_survives_the_wire(dtype: str) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    name, back = tensor_from_proto(tensor_pb2.Tensor.FromString(tensor_to_proto("t", array).SerializeToString()))
    assert name == "t"
    np.testing.assert_array_equal(back, array)


def test_text_travels_as_utf8_bytes() -> None:
    array = np.array([["a", "é"], ["", "b"]], dtype=object)
    pb = tensor_to_proto("t", array)
    assert pb.datatype == "BYTES"
    assert tensor_from_proto(pb)[1].tolist() == [[b"a", "é".encode()], [b"", b"b"]]


@pytest.mark.parametrize(
    "pb",
    [
        tensor_pb2.Tensor(name="t", datatype="FP32", shape=[2], data=b"1234"),
        tensor_pb2.Tensor(name="t", datatype="BF16", shape=[2], data=b"1234"),
        tensor_pb2.Tensor(name="t", datatype="FP32", shape=[-1], data=b"1234"),
        tensor_pb2.Tensor(name="t", datatype="BYTES", shape=[1], data=b"\xff\xff\xff\xff"),
        tensor_pb2.Tensor(name="t", datatype="BYTES", shape=[1], data=b"\x00\x00\x00\x00\x00"),
        tensor_pb2.Tensor(datatype="FP32", shape=[1], data=b"1234"),
    ],
    ids=["length", "datatype", "shape", "bytes-overrun", "bytes-rest", "name"],
)
def test_a_broken_tensor_is_refused(pb: tensor_pb2.Tensor) -> None:
    with pytest.raises(FrameError):
        tensor_from_proto(pb)


def test_a_complex_array_is_no_tensor() -> None:
    with pytest.raises(FrameError, match="'t'"):
        tensor_to_proto("t", np.zeros(1, dtype=complex))
