"""Envoy itself takes every configuration that the settings can give, and its objections are readable."""

from __future__ import annotations

import pytest
from predmesh_gateway.bootstrap import to_yaml
from predmesh_gateway.envoy import InvalidConfiguration, validate
from predmesh_gateway.settings import Settings


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(Settings(), id="defaults"),
        pytest.param(Settings(admin_address="unix:admin.sock", address="[::1]:0"), id="addresses"),
        pytest.param(Settings(prediction_addresses=("unix:a.sock", "127.0.0.1:9000")), id="processes"),
        pytest.param(Settings(prediction_addresses=("unix:a.sock", "127.0.0.1:9001")), id="several"),
        pytest.param(Settings(retries=0), id="once"),
        pytest.param(
            Settings(prediction_websocket_addresses=("unix:a.sock",), cors_origins=("https://a.example",)),
            id="websockets",
        ),
        pytest.param(Settings(cors_origins=("https://a.example", "https://b.example")), id="cors"),
        pytest.param(Settings(otlp_endpoint="collector.example:4317"), id="traces"),
        pytest.param(Settings(retries=0, access_log="", keep_client_request_ids=True), id="off"),
        pytest.param(Settings(request_timeout_seconds=0.05, health_interval_seconds=0.01), id="short"),
    ],
)
def test_envoy_takes_the_configuration(settings: Settings):
    validate(to_yaml(settings))


def test_an_objection_names_the_field():
    with pytest.raises(InvalidConfiguration, match=r"no\s+such\s+field:\s+.nonsense"):
        validate(to_yaml(Settings()).replace("stat_prefix", "nonsense"))


def test_an_absent_descriptor_set_is_an_objection(tmp_path):
    with pytest.raises(InvalidConfiguration, match="absent"):
        validate(to_yaml(Settings(descriptors=tmp_path / "absent.binpb")))


def test_text_that_is_no_yaml_is_an_objection():
    with pytest.raises(InvalidConfiguration):
        validate("{")
