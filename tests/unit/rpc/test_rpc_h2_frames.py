"""HTTP/2 as bytes, held against python-hyper's HPACK."""

import base64
import itertools
from typing import Any

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from predmesh_rpc import h2_frames as h2
from predmesh_rpc.h2_frames import BrokenError, Frame, Frames

STREAMS = st.integers(0, h2.LARGEST)
TEXTS = st.text(st.characters(codec="latin-1"), max_size=300)
NAMES = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=20).filter(lambda name: not name.endswith("-bin"))


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(edges)]


def fed(*chunks: bytes) -> list[Frame]:
    frames = Frames()
    return [frame for chunk in chunks for frame in frames.fed(chunk)]


@st.composite
def sent(draw: Any) -> bytes:
    """A frame of any kind, a header block in one to three."""
    kind, stream, payload = draw(st.integers(0, 255)), draw(STREAMS), draw(st.binary(max_size=100))
    if kind == h2.HEADERS:
        parts = draw(st.lists(st.binary(max_size=20), max_size=2))
        kinds = [h2.HEADERS, *[h2.CONTINUATION] * len(parts)]
        flags = [*[0] * len(parts), h2.END_HEADERS]
        whole = zip(kinds, flags, [payload, *parts], strict=True)
        return b"".join(h2.frame(kind, flag, stream, part) for kind, flag, part in whole)
    if kind == h2.DATA and draw(st.booleans()):
        return h2.frame(kind, h2.PADDED, stream, bytes([3]) + payload + bytes(3))
    return h2.frame(kind if kind != h2.CONTINUATION else h2.PING, 0, stream, payload)


@given(st.lists(sent(), max_size=6), st.lists(st.integers(0), max_size=20))
def test_frames_are_the_same_in_whatever_pieces_they_come(frames: list[bytes], cuts: list[int]) -> None:
    data = b"".join(frames)
    found = fed(*pieces(data, cuts))
    assert found == fed(data)
    assert len(found) == len(frames)


@given(st.lists(st.binary(max_size=200), max_size=10))
def test_of_any_bytes_come_frames_or_the_one_error(chunks: list[bytes]) -> None:
    try:
        found = fed(*chunks)
    except BrokenError:
        return
    assert sum(frame.size for frame in found) <= sum(map(len, chunks))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n", id="not HTTP/2"),
        pytest.param(h2.frame(h2.DATA, 0, 1, bytes(h2.FRAME_BYTES + 1)), id="long frame"),
        pytest.param(h2.frame(h2.DATA, h2.PADDED, 1, b"\x05abc"), id="more padding than frame"),
        pytest.param(h2.frame(h2.DATA, h2.PADDED, 1, b""), id="padding of nothing"),
        pytest.param(h2.frame(h2.HEADERS, h2.PRIORITISED | h2.END_HEADERS, 1, b"abc"), id="no priority"),
        pytest.param(h2.frame(h2.CONTINUATION, 0, 1, b""), id="continuation of nothing"),
        pytest.param(h2.frame(h2.HEADERS, 0, 1, b"") + h2.frame(h2.PING, 0, 0, bytes(8)), id="block cut off"),
        pytest.param(h2.frame(h2.HEADERS, 0, 1, b"") + h2.frame(h2.CONTINUATION, 0, 3, b""), id="another's block"),
        pytest.param(
            h2.frame(h2.HEADERS, 0, 1, b"") + h2.frame(h2.CONTINUATION, 0, 1, bytes(h2.FRAME_BYTES)) * 5,
            id="long block",
        ),
    ],
)
def test_what_is_no_frame_is_told(data: bytes) -> None:
    with pytest.raises(BrokenError):
        fed(data)


def test_padding_counts_and_priority_does_not_stay() -> None:
    (data,) = fed(h2.frame(h2.DATA, h2.PADDED, 1, b"\x02abc\0\0"))
    assert (data.payload, data.size) == (b"abc", 6)
    (headers,) = fed(
        h2.frame(h2.HEADERS, h2.PADDED | h2.PRIORITISED | h2.END_HEADERS, 1, b"\x01" + bytes(5) + b"abc\0")
    )
    assert headers.payload == b"abc"


@given(st.integers(0, 3 * h2.FRAME_BYTES))
def test_a_long_block_is_continued(size: int) -> None:
    block = bytes(size)
    (whole,) = fed(h2.header_frames(7, block))
    assert (whole.stream, whole.payload) == (7, block)


@given(st.lists(st.tuples(NAMES, TEXTS | st.binary(max_size=20_000)), max_size=5))
def test_metadata_reads_as_it_was_written(pairs: list[tuple[str, str | bytes]]) -> None:
    block = h2.NO_TABLE + h2.request_head("/p.S/M") + h2.literals(pairs)
    found = hpack.Decoder(1 << 20).decode(block, raw=True)
    texts = [value.encode("latin-1") if isinstance(value, str) else base64.b64encode(value) for _, value in pairs]
    assert [tuple(pair) for pair in found] == [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/p.S/M"),
        (b":authority", b"mesh"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        *((name.encode(), text) for (name, _), text in zip(pairs, texts, strict=True)),
    ]


def test_settings_that_are_cut_off_are_none() -> None:
    with pytest.raises(BrokenError):
        list(h2.settings_of(bytes(7)))
