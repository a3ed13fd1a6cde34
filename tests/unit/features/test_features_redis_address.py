"""Redis URLs: what they name, and what is never repeated of them."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from predmesh_features.redis_address import RedisAddress, parse_redis_url
from predmesh_features.redis_link import backoff_seconds
from predmesh_features.settings import Settings
from predmesh_rpc.settings import SettingsError, read
from predmesh_testing.redis_tls import Certificates

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://localhost", RedisAddress(host="localhost")),
        ("redis://:pw@h:7000/3", RedisAddress(host="h", port=7000, password="pw", database=3)),
        ("redis://me:p%40ss%2F@[::1]:1/0", RedisAddress(host="::1", port=1, user="me", password="p@ss/")),
        ("redis://h?db=2", RedisAddress(host="h", database=2)),
        ("rediss://me:pw@h/1", RedisAddress(host="h", tls=True, user="me", password="pw", database=1)),
        ("redis+cluster://a:7000,b", RedisAddress(host="a", port=7000, seeds=(("a", 7000), ("b", 6379)))),
        (
            "rediss+cluster://me:p%40w@[::1]:7000,b:7001",
            RedisAddress(
                host="::1", port=7000, tls=True, seeds=(("::1", 7000), ("b", 7001)), user="me", password="p@w"
            ),
        ),
        ("unix:///run/redis.sock", RedisAddress(path="/run/redis.sock")),
        (
            "unix:///a%20b.sock?db=4&username=me&password=p%26w",
            RedisAddress(path="/a b.sock", user="me", password="p&w", database=4),
        ),
        ("unix://me:pw@/run/r.sock?db=1", RedisAddress(path="/run/r.sock", user="me", password="pw", database=1)),
    ],
)
def test_a_url_names_a_server_a_user_and_a_database(url: str, address: RedisAddress) -> None:
    assert parse_redis_url(url) == address


@pytest.mark.parametrize(
    "url",
    [
        f"redis://me:{SECRET}@a,b",
        f"redis+cluster://me:{SECRET}@a:7000,b:x",
        f"redis+cluster://me:{SECRET}@a:7000/3",
        f"http://me:{SECRET}@h",
        f"redis://me:{SECRET}@h:99999999",
        f"redis://me:{SECRET}@h/first",
        f"unix://me:{SECRET}@",
        f"redis://me:{SECRET}@[::1",
    ],
)
def test_what_is_no_such_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_redis_url(url)
    assert SECRET not in str(caught.value)


def test_an_address_hides_its_credentials() -> None:
    assert SECRET not in repr(parse_redis_url(f"redis://{SECRET}:{SECRET}@h"))


def test_the_meshs_variables_are_read_and_the_services_own_come_first(tmp_path: Path) -> None:
    shared = {"PREDMESH_REDIS_URL": f"redis://:{SECRET}@shared", "PREDMESH_STORE": str(tmp_path)}
    settings = read(Settings, "FEATURES_", shared)
    assert settings.read_address.host == settings.write_address.host == "shared"
    assert SECRET not in repr(settings)
    own = shared | {"FEATURES_REDIS_URL": "redis://own", "PREDMESH_REDIS_WRITE_URL": "redis://writer"}
    settings = read(Settings, "FEATURES_", own)
    assert (settings.read_address.host, settings.write_address.host) == ("own", "writer")


def test_a_bad_url_stops_the_start_and_names_its_variable() -> None:
    with pytest.raises(SettingsError) as caught:
        read(Settings, "FEATURES_", {"PREDMESH_REDIS_WRITE_URL": f"ftp://:{SECRET}@h"})
    assert "PREDMESH_REDIS_WRITE_URL" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_node_of_a_cluster_is_opened_as_the_cluster_says() -> None:
    cluster = parse_redis_url(f"rediss+cluster://me:{SECRET}@a,b")
    assert cluster.node(("c", 1)) == RedisAddress(host="c", port=1, tls=True, user="me", password=SECRET)


WRONG = {
    "FEATURES_REDIS_WRITE_URL": (
        {"FEATURES_REDIS_WRITE_URL": "redis+cluster://a"},
        "both name a cluster, or one server",
    ),
    "FEATURES_REDIS_CA_FILE": ({"FEATURES_REDIS_CA_FILE": "/nowhere.pem"}, "no file of PEM certificates"),
    "FEATURES_REDIS_KEY_FILE": ({"FEATURES_REDIS_KEY_FILE": "/nowhere.pem"}, "needs a certificate beside it"),
    "FEATURES_REDIS_CERTIFICATE_FILE": ({"FEATURES_REDIS_CERTIFICATE_FILE": "/nowhere.pem"}, "one pair"),
}


@pytest.mark.parametrize("name", WRONG)
def test_settings_that_cannot_be_together_stop_the_start(name: str) -> None:
    variables, reason = WRONG[name]
    with pytest.raises(SettingsError, match=reason):
        read(Settings, "FEATURES_", variables)


def test_files_of_tls_are_used_where_the_url_asks_for_it(tmp_path: Path) -> None:
    files = Certificates(tmp_path)
    variables = {"FEATURES_REDIS_CA_FILE": str(files.authority), "FEATURES_REDIS_CERTIFICATE_FILE": str(files.client)}
    assert read(Settings, "FEATURES_", variables).link_options.tls is None
    encrypted = read(Settings, "FEATURES_", variables | {"FEATURES_REDIS_URL": "rediss://h"}).link_options.tls
    assert encrypted is not None
    assert encrypted.verify_mode is ssl.CERT_REQUIRED
    assert encrypted.check_hostname


def test_waiting_grows_from_milliseconds_to_a_second() -> None:
    waits = [backoff_seconds(failures, 1.0) for failures in range(12)]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (0.02, 1.0)
    assert backoff_seconds(3, 0.0) == backoff_seconds(3, 1.0) / 2
