"""Where a Redis is and who we are there, out of a URL; no I/O, and nothing of the URL in any message."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

DEFAULT_PORT = 6379


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """One Redis server and database.

    Attributes:
        path: unix socket; empty for TCP.
        host, port: for TCP.
        user, password: credentials; empty where none are needed, or the default user is meant.
        database: number of the database.
    """

    path: str = ""
    host: str = ""
    port: int = DEFAULT_PORT
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    database: int = 0


def parse_redis_url(url: str) -> RedisAddress:
    """The address in ``redis://user:password@host:port/db`` or ``unix:///path?db=0&username=…&password=…``.

    Raises:
        ValueError: it is none of these; the message does not repeat it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORT
    except ValueError:
        raise ValueError("is no URL; write redis://user:password@host:port/0 or unix:///path") from None
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    user = unquote(parts.username or "") or query.get("username", "")
    password = unquote(parts.password or "") or query.get("password", "")
    if parts.scheme == "unix":
        if not parts.path:
            raise ValueError("names no socket; write unix:///path/of/the.sock")
        return RedisAddress(
            path=unquote(parts.path), user=user, password=password, database=_database(query.get("db", ""))
        )
    if parts.scheme != "redis":
        raise ValueError("is neither redis:// nor unix://; TLS and clusters are not offered yet")
    database = _database(parts.path.strip("/") or query.get("db", ""))
    return RedisAddress(host=parts.hostname or "localhost", port=port, user=user, password=password, database=database)


def _database(text: str) -> int:
    if text and not text.isdecimal():
        raise ValueError("names a database that is no number; write redis://host:port/0")
    return int(text or 0)
