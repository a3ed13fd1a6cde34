"""Generated Python packages: well typed, and sure of what they send."""

import importlib
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
from mypy import api
from predmesh_clients.package import ClientError, ClientPackage
from predmesh_clients.python import python_files
from predmesh_clients.writing import write_package
from predmesh_compiler.contracts import Contract

MODULE = "predmesh.clients.unit_tests.every_thing_v2"


@pytest.fixture
def package(tmp_path: Path, flights: Contract, everything: Contract) -> Path:
    write_package(tmp_path / "package", python_files(ClientPackage("unit-tests", [flights, everything])))
    return tmp_path / "package"


@pytest.fixture
def every_thing(package: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module of the model that has every type."""
    monkeypatch.syspath_prepend(package)
    yield importlib.import_module(MODULE)
    for name in [each for each in sys.modules if each.startswith("predmesh.clients")]:
        del sys.modules[name]


def test_a_package_pleases_the_strictest_type_checker(package: Path, tmp_path: Path) -> None:
    words = ["--strict", "--namespace-packages", "--explicit-package-bases", "--cache-dir", str(tmp_path / "cache")]
    said, errors, status = api.run([*words, "--config-file", "", str(package / "predmesh")])
    assert (status, errors) == (0, ""), said


def test_a_row_is_sent_with_all_that_it_says(every_thing: ModuleType) -> None:
    row = every_thing.Inputs(
        given_int32=7,
        given_bool=False,
        passenger="p-1",
        given_double=12.5,
        given_string="ü",
        given_bytes=b"\0",
        given_time=datetime(2013, 12, 31, 23, 59, 0, 250_000, tzinfo=UTC),
        few=[1, 2, 3],
        level="high",
        carrier=every_thing.Carrier.CARRIER_9E,
    )
    sent = every_thing._inputs(row)
    assert (sent.HasField("given_bool"), sent.HasField("given_int64")) == (True, False)
    assert (sent.given_time.seconds, sent.given_time.nanos) == (1388534340, 250_000_000)
    assert (list(sent.few), sent.carrier, sent.given_string) == ([1, 2, 3], 3, "ü")


def test_an_answer_is_read_into_words_and_plain_numbers(every_thing: ModuleType) -> None:
    message = every_thing._message("Outputs", late=0.5, grape="GRAPE_BARBERA", grid=[1, 2])
    read = every_thing._outputs(message)
    assert (read.late, read.grape, read.grid) == (0.5, "barbera", (1, 2))


def test_a_time_without_a_zone_is_refused(every_thing: ModuleType) -> None:
    contracts = importlib.import_module("predmesh.clients.unit_tests.contracts")
    with pytest.raises(ValueError, match="has no time zone"):
        contracts.from_time(datetime(2013, 12, 31))


@pytest.mark.parametrize("target", ["127.0.0.1:8080", "ftp://mesh", "http://", "https://mesh/path"])
def test_a_target_that_is_no_gateway_is_refused(every_thing: ModuleType, target: str) -> None:
    with pytest.raises(ValueError, match="write https://HOST"):
        every_thing.EveryThingClient(target)


@pytest.mark.parametrize("name", ["Flights", "my_flights", "-x", "a--b", ""])
def test_a_name_that_no_registry_takes_is_refused(flights: Contract, name: str) -> None:
    with pytest.raises(ClientError, match="no name of a client"):
        ClientPackage(name, [flights])
