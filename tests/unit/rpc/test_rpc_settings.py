from pathlib import Path

import pytest
from predmesh_rpc.settings import ServiceSettings, SettingsError, read
from pydantic import Field, ValidationError


class Settings(ServiceSettings):
    redis_url: str = Field(repr=False)
    limit_rows: int = Field(default=10, ge=1)


GOOD = {"FEATURES_REDIS_URL": "redis://:hunter2@localhost"}


def test_a_services_own_variable_wins_over_the_meshs() -> None:
    environ = {**GOOD, "PREDMESH_STORE": "/a", "PREDMESH_LOG_LEVEL": "debug", "FEATURES_STORE": "/b"}
    settings = read(Settings, "FEATURES_", environ)
    assert (settings.store, settings.log_level, settings.service) == (Path("/b"), "DEBUG", "features")


def test_defaults_follow_the_home_and_the_service() -> None:
    settings = read(Settings, "FEATURES_", {**GOOD, "PREDMESH_HOME": "/home"})
    assert settings.store == Path("/home/store")
    assert settings.addresses == ("unix:/home/run/features.sock",)
    assert settings.instance


def test_addresses_are_separated_by_commas() -> None:
    settings = read(Settings, "FEATURES_", {**GOOD, "FEATURES_ADDRESS": "unix:/a, 127.0.0.1:0"})
    assert settings.addresses == ("unix:/a", "127.0.0.1:0")


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({}, ["FEATURES_REDIS_URL"]),
        ({**GOOD, "FEATURES_LIMIT_ROWS": "0"}, ["FEATURES_LIMIT_ROWS"]),
        ({**GOOD, "PREDMESH_GRACE_SECONDS": "soon"}, ["PREDMESH_GRACE_SECONDS"]),
        (
            {**GOOD, "FEATURES_LOG_LEVEL": "LOUD", "FEATURES_LIMIT_ROWS": "x"},
            ["FEATURES_LOG_LEVEL", "FEATURES_LIMIT_ROWS"],
        ),
    ],
    ids=["missing", "range", "type", "two"],
)
def test_a_bad_value_stops_the_start_and_names_its_variable(environ: dict[str, str], names: list[str]) -> None:
    with pytest.raises(SettingsError) as raised:
        read(Settings, "FEATURES_", environ)
    assert all(name in str(raised.value) for name in names)
    assert "hunter2" not in str(raised.value)


def test_a_secret_is_not_shown() -> None:
    assert "hunter2" not in repr(read(Settings, "FEATURES_", GOOD))


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        read(Settings, "FEATURES_", GOOD).limit_rows = 3


def test_a_misspelt_variable_is_pointed_at(caplog: pytest.LogCaptureFixture) -> None:
    read(Settings, "FEATURES_", {**GOOD, "FEATURES_LIMIT_ROW": "3"})
    assert [(r.variable, r.nearest) for r in caplog.records] == [("FEATURES_LIMIT_ROW", "FEATURES_LIMIT_ROWS")]  # type: ignore[attr-defined]
