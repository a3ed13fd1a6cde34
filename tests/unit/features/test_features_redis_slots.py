"""Slots of a Redis cluster: which is whose, by the rules of the cluster specification."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from predmesh_features.redis_slots import Redirection, key_slot, nodes_of, redirection, slot_owners
from redis.crc import key_slot as redis_key_slot

ASKED = ("10.0.0.9", 7000)


@given(st.binary(max_size=40) | st.lists(st.sampled_from([b"{", b"}", b"a", b"b"])).map(b"".join))
def test_a_key_has_the_slot_that_redis_gives_it(key: bytes) -> None:
    assert key_slot(key) == redis_key_slot(key)


def test_keys_with_the_same_tag_share_a_slot() -> None:
    assert key_slot(b"{user}1") == key_slot(b"2{user}3") == key_slot(b"user")
    assert key_slot(b"{}1") != key_slot(b"{}2")


def test_owners_are_those_of_the_first_node_of_each_range() -> None:
    owners = slot_owners(
        [[0, 100, [b"a", 1, b"id"], [b"replica", 2, b"id", []]], [101, 16383, [b"b", 3, b"id", [b"hostname", b"b"]]]],
        ASKED,
    )
    assert owners[0] == owners[100] == ("a", 1)
    assert owners[101] == owners[16383] == ("b", 3)
    assert nodes_of(owners) == {("a", 1), ("b", 3)}


@pytest.mark.parametrize("host", [b"", b"?", None])
def test_a_server_that_does_not_tell_its_address_is_where_it_was_asked(host: bytes | None) -> None:
    owners = slot_owners([[5, 5, [host, 1, b"id"]]], ASKED)
    assert owners[5] == ("10.0.0.9", 1)
    assert owners[4] is None


@pytest.mark.parametrize(
    "reply", [b"OK", 3, None, [[0]], [[0, 20_000, [b"a", 1]]], [[0, 1, b"a"]], [[b"0", b"1", [b"a", 1]]]]
)
def test_what_is_no_table_of_slots_is_refused(reply: object) -> None:
    with pytest.raises(ValueError):
        slot_owners(reply, ASKED)


@pytest.mark.parametrize(
    ("refusal", "wanted"),
    [
        ("MOVED 3999 127.0.0.1:6381", Redirection(3999, ("127.0.0.1", 6381), moved=True)),
        ("ASK 1 ::1:7001", Redirection(1, ("::1", 7001), moved=False)),
        ("MOVED 2 :6381", Redirection(2, ("10.0.0.9", 6381), moved=True)),
        ("MOVED 16384 a:1", None),
        ("MOVED 1 a", None),
        ("CLUSTERDOWN The cluster is down", None),
        ("", None),
    ],
)
def test_a_refusal_points_to_who_takes_the_command(refusal: str, wanted: Redirection | None) -> None:
    assert redirection(refusal, ASKED) == wanted
