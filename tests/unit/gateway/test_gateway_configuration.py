"""The configuration says what the gateway promises."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.api import annotations_pb2
from predmesh.prediction.v1 import open_inference_http_service_pb2, prediction_http_service_pb2, prediction_service_pb2
from predmesh_gateway.bootstrap import bootstrap, to_yaml
from predmesh_gateway.clusters import clusters, prediction_cluster, prediction_websocket_cluster
from predmesh_gateway.envoy_types import address, seconds
from predmesh_gateway.filters import SERVICES, http_filters, transcoder
from predmesh_gateway.listener import connection_manager, listener
from predmesh_gateway.routes import AS_IT_CAME, CLUSTER, POSTED, STREAMED, STREAMS, TYPED_STREAMS, UNARY_CLUSTER, routes
from predmesh_gateway.settings import Settings, contract_descriptors
from tritonclient.grpc import service_pb2

CONTRACTS = (prediction_service_pb2, prediction_http_service_pb2, open_inference_http_service_pb2, service_pb2)


def posted(settings: Settings) -> dict[str, Any]:
    return next(one for one in routes(settings) if one["match"].get("safe_regex", {}).get("regex") == POSTED)


def names(filters: list[dict[str, Any]]) -> list[str]:
    return [one["name"].removeprefix("envoy.filters.http.") for one in filters]


def test_the_same_settings_give_the_same_text():
    assert to_yaml(Settings()) == to_yaml(Settings())


def test_the_text_is_plain_yaml_of_the_bootstrap():
    assert yaml.safe_load(to_yaml(Settings())) == bootstrap(Settings())


def test_the_filters_stand_in_the_order_that_works():
    chain = names(http_filters(Settings(cors_origins=("https://app.example",))))
    assert chain == ["cors", "health_check", "grpc_web", "grpc_json_transcoder", "grpc_stats", "buffer", "router"]


def test_without_origins_there_is_no_cors():
    assert "cors" not in names(http_filters(Settings()))


@pytest.mark.parametrize("parameter", ["model", "version"])
def test_a_query_parameter_cannot_override_the_path(parameter: str):
    assert parameter in transcoder(Settings())["typed_config"]["ignored_query_parameters"]


def test_the_transcoder_reads_the_installed_contracts():
    assert transcoder(Settings())["typed_config"]["proto_descriptor"] == str(contract_descriptors())


def test_a_given_descriptor_set_wins():
    settings = Settings(descriptors=Path("other.binpb"))
    assert transcoder(settings)["typed_config"]["proto_descriptor"] == "other.binpb"


def test_the_port_is_not_shared_with_a_second_gateway():
    assert listener(Settings())["enable_reuse_port"] is False


def pattern(match: dict[str, Any]) -> str:
    return str(match.get("path") or match.get("prefix") or match["safe_regex"]["regex"])


@pytest.mark.parametrize("path", [*STREAMS, TYPED_STREAMS, STREAMED])
def test_a_stream_is_never_retried_and_may_last(path: str):
    (route,) = [one["route"] for one in routes(Settings()) if "route" in one and pattern(one["match"]) == path]
    assert "retry_policy" not in route
    assert route["cluster"] == "prediction"
    assert route["max_stream_duration"]["max_stream_duration"] == "3600s"


@pytest.mark.parametrize(
    ("path", "is_stream"),
    [
        ("/predmesh.models.flight_delay.v1.FlightDelayService/StreamPredict", True),
        ("/predmesh.models.flight_delay.v12.FlightDelayService/StreamPredict", True),
        ("/predmesh.models.flight_delay.v1.FlightDelayService/Predict", False),
        ("/predmesh.models.flight_delay.v1.FlightDelayService/StreamPredictX", False),
        ("/predmeshXmodels.flight_delay.v1.FlightDelayService/StreamPredict", False),
    ],
)
def test_a_models_own_stream_is_known_by_its_path(path: str, is_stream: bool):
    (match,) = [one["match"] for one in routes(Settings()) if pattern(one["match"]) == TYPED_STREAMS]
    assert bool(re.fullmatch(pattern(match), path)) == is_stream
    assert [each["name"] for each in match["headers"]] == ["content-type"]


def test_a_unary_route_states_its_time_as_stream_duration_alone():
    unary = [one["route"] for one in routes(Settings()) if one["match"].get("prefix") == "/"]
    assert unary
    for route in unary:
        assert route["max_stream_duration"] == {"max_stream_duration": "30s", "grpc_timeout_header_max": "30s"}
        assert "timeout" not in route


def test_no_retries_when_none_are_wanted():
    assert not [one for one in routes(Settings(retries=0)) if "retry_policy" in one.get("route", {})]


def test_every_prediction_process_is_an_endpoint():
    settings = Settings(prediction_addresses=("unix:/run/a.sock", "127.0.0.1:9000"))
    cluster = prediction_cluster(settings, CLUSTER)
    (locality,) = cluster["load_assignment"]["endpoints"]
    assert [one["endpoint"]["address"] for one in locality["lb_endpoints"]] == [
        {"pipe": {"path": "/run/a.sock"}},
        {"socket_address": {"address": "127.0.0.1", "port_value": 9000}},
    ]


def test_traces_go_nowhere_by_default():
    assert [one["name"] for one in clusters(Settings())] == [CLUSTER, UNARY_CLUSTER]
    assert "tracing" not in connection_manager(Settings())


def test_traces_go_to_the_endpoint_given():
    settings = Settings(otlp_endpoint="127.0.0.1:4317")
    assert [one["name"] for one in clusters(settings)] == [CLUSTER, UNARY_CLUSTER, "otlp"]
    assert "tracing" in connection_manager(settings)


def test_the_access_log_can_be_turned_off():
    assert "access_log" not in connection_manager(Settings(access_log=""))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("unix:/run/x.sock", {"pipe": {"path": "/run/x.sock", "mode": 0o600}}, id="unix"),
        pytest.param("127.0.0.1:80", {"socket_address": {"address": "127.0.0.1", "port_value": 80}}, id="v4"),
        pytest.param("[::1]:80", {"socket_address": {"address": "::1", "port_value": 80}}, id="v6"),
    ],
)
def test_an_address_is_a_socket_or_host_and_port(text: str, expected: dict[str, Any]):
    assert address(text) == expected


@pytest.mark.parametrize("text", ["", "8080", ":8080", "host:", "host:http"])
def test_anything_else_is_no_address(text: str):
    with pytest.raises(ValueError, match="neither"):
        address(text)


@pytest.mark.parametrize(("value", "text"), [(1.0, "1s"), (0.25, "0.25s"), (30, "30s"), (0.0, "0s"), (100.0, "100s")])
def test_durations_are_in_protobufs_json_form(value: float, text: str):
    assert seconds(value) == text


@pytest.mark.parametrize("text", ["127.0.0.1:4317", "http://127.0.0.1:4317", "http://127.0.0.1:4317/"])
def test_a_collector_may_be_given_as_the_services_take_it(text: str):
    assert Settings.model_validate({"otlp_endpoint": text}).otlp_endpoint == "127.0.0.1:4317"


@pytest.mark.parametrize(
    "wrong",
    [
        {"otlp_endpoint": "https://collector.example:4317"},
        {"address": "nowhere"},
        {"prediction_addresses": ""},
        {"retries": -1},
        {"request_timeout_seconds": 0},
        {"log_level": "loud"},
        {"colour": "red"},
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings.model_validate(wrong)


def test_the_shared_log_level_is_understood():
    assert Settings.model_validate({"log_level": "INFO"}).log_level == "info"


def test_all_but_streams_are_counted_apart():
    elsewhere = [one["match"] for one in routes(Settings()) if one.get("route", {}).get("cluster") == CLUSTER]
    assert [pattern(one) for one in elsewhere] == [*STREAMS, TYPED_STREAMS, STREAMED]


def test_every_stream_of_the_contracts_is_known_as_one():
    services = [service for contract in CONTRACTS for service in contract.DESCRIPTOR.services_by_name.values()]
    streams = [
        f"/{service.full_name}/{method.name}"
        for service in services
        for method in service.methods
        if method.client_streaming or method.server_streaming
    ]
    assert {service.full_name for service in services} == {*SERVICES, "inference.GRPCInferenceService"}
    assert set(streams) == {path for path in STREAMS if not path.startswith("/grpc.")}


def test_a_posted_call_is_known_by_its_rest_path():
    assert posted(Settings())["route"]["cluster"] == UNARY_CLUSTER
    assert posted(Settings())["match"]["headers"] == [{"name": ":method", "string_match": {"exact": "POST"}}]


def test_every_path_of_the_open_inference_protocol_is_known_with_its_verb():
    service = open_inference_http_service_pb2.DESCRIPTOR.services_by_name["OpenInferenceHttpService"]
    for method in service.methods:
        rule = method.GetOptions().Extensions[annotations_pb2.http]
        for binding in (rule, *rule.additional_bindings):
            verb = binding.WhichOneof("pattern")
            template = re.sub(r"\{\w+\}", "m", getattr(binding, verb))
            path = re.sub(r"\{\w+=([^}]+)\}", r"\1", template).replace("**", "a/b")
            verbs = [verbs for pattern, verbs in AS_IT_CAME.items() if re.fullmatch(pattern, path)]
            assert len(verbs) == 1 and verb.upper() in verbs[0], path


def test_posted_calls_are_buffered_up_to_the_largest_body_and_not_transcoded():
    route = posted(Settings().model_copy(update={"max_body_bytes": 5}))
    filters = route["typed_per_filter_config"]
    assert filters["envoy.filters.http.buffer"]["buffer"] == {"max_request_bytes": 5}
    assert filters["envoy.filters.http.grpc_json_transcoder"]["disabled"]
    assert route["request_body_buffer_limit"] == 5


def test_the_buffer_is_off_elsewhere_and_stands_before_the_router():
    chain = http_filters(Settings())
    assert names(chain)[-2:] == ["buffer", "router"]
    assert chain[-2]["disabled"]


def test_posted_calls_have_the_time_and_the_retries_of_transcoded_ones():
    settings = Settings()
    there = posted(settings)["route"]
    transcoded = next(one["route"] for one in routes(settings) if one["match"].get("prefix") == "/")
    assert there["max_stream_duration"] == transcoded["max_stream_duration"]
    reasons = {"retry_on": "connect-failure,refused-stream,reset,retriable-status-codes"}
    assert there["retry_policy"] == {**transcoded["retry_policy"], **reasons, "retriable_status_codes": [503]}


def test_streams_and_other_calls_go_to_the_same_processes():
    both = clusters(Settings(prediction_addresses=("unix:/run/a.sock", "unix:/run/b.sock")))
    assert [one.pop("name") for one in both] == [CLUSTER, UNARY_CLUSTER]
    assert [one["load_assignment"].pop("cluster_name") for one in both] == [CLUSTER, UNARY_CLUSTER]
    assert both[0] == both[1]


def test_prediction_is_asked_for_the_health_that_is_wanted():
    settings = SOCKETS.model_copy(update={"health_service": "a b"})
    asked = prediction_cluster(settings, CLUSTER)["health_checks"][0]["grpc_health_check"]
    assert asked == {"service_name": "a b"}
    asked = prediction_websocket_cluster(settings)["health_checks"][0]["http_health_check"]
    assert asked["path"] == "/healthz?service=a%20b"


def test_what_a_process_answers_never_takes_it_out():
    found = prediction_cluster(Settings(), CLUSTER)["outlier_detection"]
    assert found["split_external_local_origin_errors"]
    assert {found[key] for key in found if key.startswith("enforcing_")} == {0}


SOCKETS = Settings(
    prediction_websocket_addresses=("unix:/run/a-ws.sock",), cors_origins=("https://a.example", "https://b.example")
)


def test_there_are_no_websockets_without_an_address():
    assert "upgrade_configs" not in str(routes(Settings()))
    assert [one["name"] for one in clusters(SOCKETS)] == [CLUSTER, UNARY_CLUSTER, "prediction_websocket"]


def test_a_websocket_is_a_stream_of_its_own_cluster_and_not_transcoded():
    sockets = [one for one in routes(SOCKETS) if "upgrade_configs" in one.get("route", {})]
    assert [one["match"]["safe_regex"]["regex"] for one in sockets] == [STREAMED] * 3
    for one in sockets:
        assert one["route"]["cluster"] == "prediction_websocket"
        assert one["route"]["max_stream_duration"]["max_stream_duration"] == "3600s"
        assert one["typed_per_filter_config"]["envoy.filters.http.grpc_json_transcoder"]["disabled"]


def test_prediction_is_told_of_the_one_origin_that_is_allowed_and_of_the_gateways_own():
    sockets = [one for one in routes(SOCKETS) if "upgrade_configs" in one.get("route", {})]
    told = [
        {each["header"]["key"]: each["header"]["value"] for each in one["request_headers_to_add"]} for one in sockets
    ]
    origins = [{"x-predmesh-allowed-origin": origin} for origin in SOCKETS.cors_origins]
    assert told == [{"x-predmesh-origin": "%REQ(:AUTHORITY)%", **origin} for origin in (*origins, {})]
    asked = [
        each["string_match"]["exact"] for one in sockets for each in one["match"]["headers"] if each["name"] == "origin"
    ]
    assert asked == list(SOCKETS.cors_origins)
    assert all(
        each["append_action"] == "OVERWRITE_IF_EXISTS_OR_ADD"
        for one in sockets
        for each in one["request_headers_to_add"]
    )
