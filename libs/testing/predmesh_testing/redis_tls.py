"""TLS before a real Redis: the embedded server is built without it, so this end of the wire is Python's own ssl."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import trustme

NAME = "redis.test"
"""Name in the server's certificate, beside 127.0.0.1."""


class Certificates:
    """One authority, and what it vouches for, as PEM files.

    Attributes:
        authority: its own certificate.
        server: certificate and key of a server.
        client: certificate and key of a client.
        stranger: the same of a client that the authority does not know.
    """

    def __init__(self, folder: Path) -> None:
        """Make them, in *folder*."""
        ours, theirs = trustme.CA(), trustme.CA()
        self.authority, self.server = folder / "ca.pem", folder / "server.pem"
        self.client, self.stranger = folder / "client.pem", folder / "stranger.pem"
        ours.cert_pem.write_to_path(self.authority)
        ours.issue_cert("127.0.0.1", NAME).private_key_and_cert_chain_pem.write_to_path(self.server)
        ours.issue_cert("features.test").private_key_and_cert_chain_pem.write_to_path(self.client)
        theirs.issue_cert("features.test").private_key_and_cert_chain_pem.write_to_path(self.stranger)

    def server_context(self, *, asks: bool = False) -> ssl.SSLContext:
        """What the server speaks; *asks* for a client's certificate."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.authority)
        context.load_cert_chain(self.server)
        context.verify_mode = ssl.CERT_REQUIRED if asks else ssl.CERT_NONE
        return context


@contextlib.asynccontextmanager
async def tls_before(port: int, context: ssl.SSLContext) -> AsyncIterator[int]:
    """A port that speaks TLS before the server at *port*."""
    open_writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await asyncio.open_connection("127.0.0.1", port)
        both = {writer, back_writer}
        open_writers.update(both)
        with contextlib.suppress(OSError):
            await asyncio.wait(
                [asyncio.create_task(_relay(reader, back_writer)), asyncio.create_task(_relay(back_reader, writer))],
                return_when=asyncio.FIRST_COMPLETED,
            )
        for each in both:
            each.close()
        open_writers.difference_update(both)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in open_writers:
            writer.close()


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
