"""Where a Redis is and who we are there, out of a URL; no I/O, and nothing of the URL in any message."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

DEFAULT_PORT = 6379

_SCHEMES = ("redis", "rediss", "redis+cluster", "rediss+cluster")

Node = tuple[str, int]
"""Host and port of a server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """One Redis server and database, or a cluster.

    Attributes:
        path: unix socket; empty for TCP.
        host, port: for TCP; those of one node where it is a cluster.
        tls: whether the connection is encrypted, and the server's certificate checked.
        seeds: nodes of a cluster, any of which tells the others; empty for one server.
        user, password: credentials; empty where none are needed, or the default user is meant.
        database: number of the database.
    """

    path: str = ""
    host: str = ""
    port: int = DEFAULT_PORT
    tls: bool = False
    seeds: tuple[Node, ...] = ()
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    database: int = 0

    def node(self, node: Node) -> RedisAddress:
        """The server *node* of this cluster."""
        host, port = node
        return dataclasses.replace(self, host=host, port=port, seeds=())

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


def parse_redis_url(url: str) -> RedisAddress:
    """The address in a URL.

    One server is ``redis://user:password@host:port/db`` (``rediss://`` for TLS) or
    ``unix:///path?db=0&username=…&password=…``; a cluster is ``redis+cluster://user:password@host:port,host:port``
    (``rediss+cluster://`` for TLS), of which one node that answers is enough.

    Raises:
        ValueError: it is none of these; the message does not repeat it.
    """
    try:
        parts = urlsplit(url)
        credentials, _, hosts = parts.netloc.rpartition("@")
        nodes = tuple(_node(each) for each in hosts.split(","))
    except ValueError:
        raise ValueError("is no URL; write redis://user:password@host:port/0 or unix:///path") from None
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    given_user, _, given_password = credentials.partition(":")
    user = unquote(given_user) or query.get("username", "")
    password = unquote(given_password) or query.get("password", "")
    if parts.scheme == "unix":
        if not parts.path:
            raise ValueError("names no socket; write unix:///path/of/the.sock")
        return RedisAddress(
            path=unquote(parts.path), user=user, password=password, database=_database(query.get("db", ""))
        )
    if parts.scheme not in _SCHEMES:
        raise ValueError("begins with none of redis://, rediss://, unix://, redis+cluster:// and rediss+cluster://")
    tls = parts.scheme.startswith("rediss")
    if parts.scheme.endswith("cluster"):
        if _named_database(parts, query):
            raise ValueError("names a database; a cluster has only number 0")
        return RedisAddress(host=nodes[0][0], port=nodes[0][1], tls=tls, seeds=nodes, user=user, password=password)
    if len(nodes) > 1:
        raise ValueError("names several hosts; a cluster is redis+cluster://host:port,host:port")
    ((host, port),) = nodes
    database = _named_database(parts, query)
    return RedisAddress(host=host, port=port, tls=tls, user=user, password=password, database=database)


def _node(text: str) -> Node:
    """``host``, ``host:port`` or ``[ipv6]:port``; ValueError where it is none of them."""
    parts = urlsplit(f"//{text}")
    return parts.hostname or "localhost", parts.port or DEFAULT_PORT


def _named_database(parts: SplitResult, query: dict[str, str]) -> int:
    return _database(parts.path.strip("/") or query.get("db", ""))


def _database(text: str) -> int:
    if text and not text.isdecimal():
        raise ValueError("names a database that is no number; write redis://host:port/0")
    return int(text or 0)
