"""Header blocks as a server reads and writes them, held against python-hyper's HPACK."""

from typing import Any

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from predmesh_rpc import h2_frames as h2
from predmesh_rpc.h2_frames import BLOCK_BYTES, BrokenError
from predmesh_rpc.h2_headers import TABLE_BYTES, HeaderDecoder, header_block, response_block
from predmesh_rpc.http_messages import Headers

TEXTS = st.text(st.characters(codec="latin-1"), max_size=60)
LINES = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=300)
NAMES = st.sampled_from([":path", ":method", "accept", "te", "x-request-id", "a-bin", "long" * 200]) | TEXTS
VALUES = st.sampled_from(["GET", "/", "/p.S/M", "trailers", "v" * 1000]) | TEXTS
FIELD = st.tuples(NAMES, VALUES, st.booleans())
"""Name, value, and whether no table may keep it."""
SIZES = st.none() | st.sampled_from([0, TABLE_BYTES]) | st.integers(0, TABLE_BYTES)

Fields = list[tuple[str, str, bool]]


@st.composite
def blocks(draw: Any) -> list[tuple[Fields, bytes]]:
    """What a client says on one connection, and as what bytes."""
    encoder, found = hpack.Encoder(), []
    known = draw(st.lists(FIELD, min_size=1, max_size=5))
    for _ in range(draw(st.integers(1, 8))):
        if (size := draw(SIZES)) is not None:
            encoder.header_table_size = size
        fields = draw(st.lists(st.sampled_from(known) | FIELD, max_size=8))
        said = [
            (hpack.NeverIndexedHeaderTuple if secret else hpack.HeaderTuple)(
                name.encode("latin-1"), value.encode("latin-1")
            )
            for name, value, secret in fields
        ]
        found.append((fields, encoder.encode(said, huffman=draw(st.booleans()))))
    return found


@given(blocks())
def test_what_a_client_says_is_read_over_the_whole_life_of_its_connection(said: list[tuple[Fields, bytes]]) -> None:
    decoder = HeaderDecoder()
    for fields, block in said:
        assert decoder.pairs(block) == [(name, value) for name, value, _ in fields]


def number(head: int, mask: int, value: int) -> bytes:
    """A number behind the bits of *head*, as RFC 7541 writes it."""
    if value < mask:
        return bytes([head | value])
    value -= mask
    rest = bytearray()
    while value > 0x7F:
        rest.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([head | mask, *rest, value])


@st.composite
def field_bytes(draw: Any) -> bytes:
    """What looks like a field of a block, and may refer to what there is not."""
    index = draw(st.integers(0, 80))
    match draw(st.integers(0, 3)):
        case 0:
            return number(0x80, 0x7F, index)
        case 1:
            return number(0x20, 0x1F, draw(st.integers(0, TABLE_BYTES + 100)))
        case _:
            head, mask = draw(st.sampled_from([(0x40, 0x3F), (0x00, 0x0F), (0x10, 0x0F)]))
            name = b"" if index else _said(draw)
            return number(head, mask, index) + name + _said(draw)


def _said(draw: Any) -> bytes:
    data: bytes = draw(st.binary(max_size=20))
    return number(draw(st.sampled_from([0x80, 0x00, 0x00])), 0x7F, len(data)) + data


@given(st.lists(st.binary(max_size=60) | st.lists(field_bytes(), max_size=6).map(b"".join), max_size=5))
def test_of_any_bytes_come_the_same_headers_or_the_one_error(said: list[bytes]) -> None:
    decoder, oracle = HeaderDecoder(), hpack.Decoder()
    for block in said:
        try:
            meant = [
                (name.decode("latin-1"), value.decode("latin-1")) for name, value in oracle.decode(block, raw=True)
            ]
        except hpack.HPACKError:
            with pytest.raises(BrokenError):
                decoder.pairs(block)
            return
        assert decoder.pairs(block) == meant


HUGE = b"\xff\xff\xff\xff\x7f"
"""What makes a number of four billions, behind its first bits."""

UNREADABLE = {
    "index 0": b"\x80",
    "an index of nothing": b"\xbe",
    "an index far off": b"\xff\xff\x7f",
    "a name of nothing": b"\x7f\x00\x01a",
    "an index that is too large": b"\xff" + HUGE,
    "an index without end": b"\xff" + b"\x80" * 50,
    "an index that is cut off": b"\xff\xff",
    "a size that is too large": b"\0\x7f" + HUGE,
    "a name that is cut off": b"\0\x05name",
    "a value that is cut off": b"\0\x01a\x05valu",
    "no value": b"\0\x01a",
    "a first bit": b"\x40",
    "a code of more than seven bits at the end": b"\0\x01a\x82\x1f\xff",
    "an end in a code": b"\0\x01a\x81\xfe",
    "an end of zeros": b"\0\x01a\x81\x18",
    "the code of the end": b"\0\x01a\x84\xff\xff\xff\xff",
    "a table that is too large": number(0x20, 0x1F, TABLE_BYTES + 1),
    "a table that changes amid a block": b"\x82\x20",
}


@pytest.mark.parametrize("block", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_the_peers_fault(block: bytes) -> None:
    with pytest.raises(hpack.HPACKError):
        hpack.Decoder().decode(block, raw=True)
    with pytest.raises(BrokenError):
        HeaderDecoder().pairs(block)


def test_a_table_may_change_more_than_once_before_a_block() -> None:
    decoder = HeaderDecoder()
    assert decoder.pairs(b"\x40\x01a\x01b") == [("a", "b")]
    assert decoder.pairs(b"\xbe") == [("a", "b")]
    assert decoder.pairs(b"\x20" + number(0x20, 0x1F, TABLE_BYTES) + b"\x82") == [(":method", "GET")]
    with pytest.raises(BrokenError):
        decoder.pairs(b"\xbe")  # it went when the table was empty


def test_what_is_larger_than_the_table_empties_it() -> None:
    decoder = HeaderDecoder()
    decoder.pairs(b"\x40\x01a\x01b")
    large = "v" * TABLE_BYTES
    assert decoder.pairs(b"\x40\x01c" + h2.text(large.encode())) == [("c", large)]
    with pytest.raises(BrokenError):
        decoder.pairs(b"\xbe")


def test_a_small_block_that_becomes_a_large_one_is_refused() -> None:
    decoder = HeaderDecoder()
    value = "v" * 4000
    decoder.pairs(b"\x40\x01a" + h2.text(value.encode()))
    most = BLOCK_BYTES // 4001
    assert decoder.pairs(b"\xbe" * most) == [("a", value)] * most
    with pytest.raises(BrokenError, match=str(BLOCK_BYTES)):
        decoder.pairs(b"\xbe" * (most + 1))


@given(
    st.sampled_from([200, 400, 404, 500]) | st.integers(100, 599),
    st.sampled_from([b"application/grpc", b"text/plain"]),
    st.none() | st.integers(0, h2.LARGEST),
    st.lists(st.tuples(TEXTS.filter(bool), LINES)),
)
def test_a_response_says_what_was_meant(status: int, kind: bytes, length: int | None, headers: Headers) -> None:
    told = [] if length is None else [(b"content-length", b"%d" % length)]
    assert raw(response_block(status, kind, length, headers)) == [
        (b":status", b"%d" % status),
        (b"content-type", kind),
        *told,
        *[(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers if isinstance(value, str)],
    ]


@given(st.lists(st.tuples(TEXTS, LINES)))
def test_what_is_written_is_read_again(headers: list[tuple[str, str]]) -> None:
    assert HeaderDecoder().pairs(h2.NO_TABLE + header_block(headers)) == headers


def raw(block: bytes) -> list[tuple[bytes, bytes]]:
    decoder = hpack.Decoder()
    decoder.header_table_size = 0
    return [(name, value) for name, value in decoder.decode(block, raw=True)]


def test_bytes_go_in_base64() -> None:
    assert raw(header_block([("a", "b"), ("c-bin", b"\0\xff")])) == [(b"a", b"b"), (b"c-bin", b"AP8=")]


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\r\nb: c", "a\0", "\u2028", "\u3042"])
def test_a_value_that_is_no_header_is_refused(value: str) -> None:
    with pytest.raises(ValueError):
        header_block([("a", value)])
    with pytest.raises(ValueError):
        response_block(200, b"text/plain", None, [("a", value)])
