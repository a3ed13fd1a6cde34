"""Asks the embedded Redis how it is, as the one user who sees figures and no keys."""

from __future__ import annotations

import asyncio
from pathlib import Path


class RedisAnswer(Exception):
    """Redis refuses; the text is its own."""


async def info(socket: Path, password: str) -> dict[str, str]:
    """What INFO says, by name.

    Raises:
        OSError: it does not answer.
        RedisAnswer: it refuses, e.g. because it still loads its data.
    """
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        writer.write(f"AUTH watcher {password}\r\nPING\r\nINFO\r\n".encode())
        for _ in ("AUTH", "PING"):
            await _line(reader)
        length = int((await _line(reader)).removeprefix("$"))
        text = (await reader.readexactly(length)).decode()
    except asyncio.IncompleteReadError as error:
        raise OSError("it closed the connection") from error
    finally:
        writer.close()
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
    return {name: value for name, _, value in pairs}


async def _line(reader: asyncio.StreamReader) -> str:
    line = (await reader.readuntil(b"\r\n")).decode().strip()
    if line.startswith("-"):
        raise RedisAnswer(line.removeprefix("-"))
    return line
