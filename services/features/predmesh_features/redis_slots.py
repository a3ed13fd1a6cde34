"""How a Redis cluster spreads its keys: slots of keys, owners of slots, and where a refusal points to; no I/O."""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from predmesh_features.redis_address import Node

SLOTS = 16384

Owners = list[Node | None]
"""Owner by slot; None where nobody serves it."""


def key_slot(key: bytes) -> int:
    """Slot of *key*: that of what stands between its first braces, where something does."""
    start = key.find(b"{") + 1
    if start:
        stop = key.find(b"}", start)
        if stop > start:
            key = key[start:stop]
    return crc_hqx(key, 0) % SLOTS


def slot_owners(reply: Any, asked: Node) -> Owners:
    """The owners that *asked* told in reply to CLUSTER SLOTS.

    Raises:
        ValueError: it told something else.
    """
    owners: Owners = [None] * SLOTS
    try:
        for first, last, (host, port, *_), *_replicas in reply:
            owners[first : last + 1] = [_node(host, port, asked)] * (last + 1 - first)
    except (TypeError, ValueError) as error:
        raise ValueError("is no table of slots") from error
    if len(owners) != SLOTS:
        raise ValueError("names slots that no cluster has")
    return owners


@dataclass(frozen=True, slots=True)
class Redirection:
    """Where a refused command goes instead.

    Attributes:
        slot: of its key.
        node: who takes it.
        moved: whether the node owns the slot from now on; else it takes this one command, after ASKING.
    """

    slot: int
    node: Node
    moved: bool


def redirection(refusal: str, asked: Node) -> Redirection | None:
    """Where *asked* points to by an error such as ``MOVED 3999 127.0.0.1:6381``; None where it points nowhere."""
    match refusal.split(" "):
        case ["MOVED" | "ASK" as kind, slot, place] if slot.isdecimal() and int(slot) < SLOTS:
            host, _, port = place.rpartition(":")
            if port.isdecimal():
                return Redirection(int(slot), _node(host.encode(), int(port), asked), kind == "MOVED")
    return None


def nodes_of(owners: Sequence[Node | None]) -> set[Node]:
    """Everyone who owns a slot."""
    return {node for node in owners if node is not None}


def _node(host: bytes | None, port: int, asked: Node) -> Node:
    # A server that does not know its own address, or must not tell it, means the one that it was asked at.
    known = (host or b"").decode()
    return (asked[0] if known in ("", "?") else known), port
