"""Header blocks of HTTP/2 (RFC 7541) as a server reads and writes them: a table for what comes, none for what goes."""

from __future__ import annotations

from collections import deque
from functools import cache, lru_cache

from hpack.huffman_table import HUFFMAN_COMPLETE, HUFFMAN_EMIT_SYMBOL, HUFFMAN_FAIL, HUFFMAN_TABLE
from hpack.table import HeaderTable

from predmesh_rpc import h2_frames as h2
from predmesh_rpc.h2_frames import BLOCK_BYTES, BrokenError
from predmesh_rpc.http_messages import ENDS_A_LINE, Headers

TABLE_BYTES = 4096
"""The table that a peer may use; HTTP/2's own default."""

_STATIC = tuple((name.decode(), value.decode()) for name, value in HeaderTable.STATIC_TABLE)
_ENTRY_BYTES = 32
_LONGEST_NUMBER = 2**31 - 1
_INDEXED_STATUS = {200: b"\x88", 400: b"\x8c", 404: b"\x8d", 500: b"\x8e"}
_STATUS, _CONTENT_TYPE, _CONTENT_LENGTH = b"\x08", b"\x0f\x10", b"\x0f\x0d"
_UNREADABLE = "a header block that cannot be read"


class HeaderDecoder:
    """Reads the header blocks of one connection, in their order: each may refer to those before."""

    def __init__(self) -> None:
        self._entries: deque[tuple[str, str]] = deque()
        self._size = 0
        self._limit = TABLE_BYTES

    def pairs(self, block: bytes) -> list[tuple[str, str]]:
        """Names and values, in order.

        Raises:
            BrokenError: they cannot be read, or are longer than BLOCK_BYTES.
        """
        try:
            return self._pairs(block)
        except IndexError:
            raise BrokenError(_UNREADABLE) from None

    def _pairs(self, block: bytes) -> list[tuple[str, str]]:
        pairs: list[tuple[str, str]] = []
        at, end, size = 0, len(block), 0
        while at < end:
            first = block[at]
            if first & 0x80:
                index, at = (first & 0x7F, at + 1) if first != 0xFF else _number(block, at, 0x7F)
                pair = self._entry(index)
            elif first & 0xE0 == 0x20:
                if pairs:
                    raise BrokenError("a header table that changes amid a block")
                limit, at = _number(block, at, 0x1F)
                self._resize(limit)
                continue
            else:
                index, at = _number(block, at, 0x3F if first & 0x40 else 0x0F)
                name, at = (self._entry(index)[0], at) if index else _text(block, at)
                value, at = _text(block, at)
                pair = name, value
                if first & 0x40:
                    self._insert(pair)
            size += len(pair[0]) + len(pair[1])
            if size > BLOCK_BYTES:
                raise BrokenError(f"a header block of more than {BLOCK_BYTES} bytes")
            pairs.append(pair)
        return pairs

    def _entry(self, index: int) -> tuple[str, str]:
        if index > len(_STATIC):
            return self._entries[index - len(_STATIC) - 1]
        if not index:
            raise BrokenError(_UNREADABLE)
        return _STATIC[index - 1]

    def _insert(self, pair: tuple[str, str]) -> None:
        self._entries.appendleft(pair)
        self._size += _size(pair)
        self._evict()

    def _resize(self, limit: int) -> None:
        if limit > TABLE_BYTES:
            raise BrokenError("a header table that is too large")
        self._limit = limit
        self._evict()

    def _evict(self) -> None:
        while self._size > self._limit:
            self._size -= _size(self._entries.pop())


def response_block(status: int, kind: bytes, length: int | None, headers: Headers) -> bytes:
    """The header block of a response whose body has *length* bytes, if that is told.

    Raises:
        ValueError: a value would end its line, or is not of Latin-1.
    """
    told = b"" if length is None else _CONTENT_LENGTH + h2.text(b"%d" % length)
    return _head(status, kind) + told + header_block(headers)


def header_block(headers: Headers) -> bytes:
    """A header block, or a part of one, that needs no table.

    Raises:
        ValueError: a value would end its line, or is not of Latin-1.
    """
    for _, value in headers:
        if isinstance(value, str) and ENDS_A_LINE.search(value):
            raise ValueError("a header holds a line break")
    return h2.literals(headers)


@lru_cache(maxsize=256)
def _head(status: int, kind: bytes) -> bytes:
    known = _INDEXED_STATUS.get(status)
    return (_STATUS + h2.text(b"%d" % status) if known is None else known) + _CONTENT_TYPE + h2.text(kind)


def _size(pair: tuple[str, str]) -> int:
    return len(pair[0]) + len(pair[1]) + _ENTRY_BYTES


def _number(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """The number whose first bits are those of *mask* in the byte *at*, and where it ends."""
    number = block[at] & mask
    at += 1
    if number < mask:
        return number, at
    shift = 0
    while True:
        byte = block[at]
        at += 1
        number += (byte & 0x7F) << shift
        shift += 7
        if number > _LONGEST_NUMBER or shift > 35:
            raise BrokenError(_UNREADABLE)
        if byte < 0x80:
            return number, at


def _text(block: bytes, at: int) -> tuple[str, int]:
    size = block[at]
    if size < 0x7F and (end := at + 1 + size) <= len(block):
        return block[at + 1 : end].decode("latin-1"), end
    compressed = size & 0x80
    size, at = _number(block, at, 0x7F)
    data = block[at : at + size]
    if len(data) < size:
        raise BrokenError(_UNREADABLE)
    return _inflated(data) if compressed else data.decode("latin-1"), at + size


@lru_cache(maxsize=256)
def _inflated(data: bytes) -> str:
    """Text that was compressed by HPACK's Huffman code; what comes with every request is known."""
    state, parts = 0, []
    flags = HUFFMAN_COMPLETE
    for byte in data:
        state, flags, text = _step(state, byte)
        parts.append(text)
    if not flags & HUFFMAN_COMPLETE:
        raise BrokenError(_UNREADABLE)
    return "".join(parts)


@cache
def _step(state: int, byte: int) -> tuple[int, int, str]:
    """What a byte makes of a state, and the text that ends in it: hpack's table takes half a byte at once."""
    found = ""
    flags = 0
    for half in (byte >> 4, byte & 0xF):
        state, flags, symbol = HUFFMAN_TABLE[state * 16 + half]
        if flags & HUFFMAN_FAIL:
            raise BrokenError(_UNREADABLE)
        if flags & HUFFMAN_EMIT_SYMBOL:
            found += chr(symbol)
    return state, flags, found
