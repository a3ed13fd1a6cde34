"""Requests per second and p95 out of Prometheus texts."""

import math

import pytest
from predmesh_cli.figures import Sample, figures, quantile, sample
from predmesh_cli.topology import Kind

SERVICE = """\
# HELP predmesh_rpc_seconds Seconds a call took to answer.
# TYPE predmesh_rpc_seconds histogram
predmesh_rpc_seconds_bucket{code="OK",le="0.001",method="Predict",service="p.S"} 90
predmesh_rpc_seconds_bucket{code="OK",le="0.002",method="Predict",service="p.S"} 100
predmesh_rpc_seconds_bucket{code="OK",le="+Inf",method="Predict",service="p.S"} 100
predmesh_rpc_seconds_count{code="OK",method="Predict",service="p.S"} 100
predmesh_rpc_seconds_bucket{code="NOT_FOUND",le="0.001",method="Predict",service="p.S"} 0
predmesh_rpc_seconds_bucket{code="NOT_FOUND",le="0.002",method="Predict",service="p.S"} 20
predmesh_rpc_seconds_bucket{code="NOT_FOUND",le="+Inf",method="Predict",service="p.S"} 20
predmesh_rpc_seconds_bucket{code="OK",le="0.001",method="Check",service="grpc.health.v1.Health"} 7
predmesh_rpc_seconds_bucket{code="OK",le="+Inf",method="Check",service="grpc.health.v1.Health"} 7
predmesh_rpc_seconds_bucket{code="OK",le="0.001",method="StreamPredict",service="p.S"} 0
predmesh_rpc_seconds_bucket{code="OK",le="+Inf",method="StreamPredict",service="p.S"} 5
"""
ENVOY = """\
# TYPE envoy_http_downstream_rq_completed counter
envoy_http_downstream_rq_completed{envoy_http_conn_manager_prefix="admin"} 9
envoy_http_downstream_rq_completed{envoy_http_conn_manager_prefix="public"} 4
# TYPE envoy_cluster_upstream_rq_time histogram
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="prediction",le="5"} 2
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="prediction",le="+Inf"} 3
"""
TRITON = """\
# TYPE nv_inference_request_success counter
nv_inference_request_success{model="a",version="1"} 4
nv_inference_request_success{model="b",version="1"} 6
# TYPE nv_inference_request_summary_us summary
nv_inference_request_summary_us{model="a",version="1",quantile="0.95"} 1500
"""


def test_a_service_counts_all_codes_and_neither_health_checks_nor_streams() -> None:
    found = sample(Kind.SERVICE, SERVICE)
    assert found.requests == 120
    assert found.buckets == {0.001: 90, 0.002: 120, math.inf: 120}


def test_a_gateway_counts_public_requests_in_milliseconds() -> None:
    assert sample(Kind.ENVOY, ENVOY) == Sample(4, {0.005: 2, math.inf: 3})


def test_triton_counts_all_models_and_tells_its_own_quantile() -> None:
    assert sample(Kind.TRITON, TRITON) == Sample(10, p95_seconds=0.0015)


def test_figures_are_those_between_two_scrapes() -> None:
    before = Sample(100, {0.001: 100, 0.003: 100, math.inf: 100})
    after = Sample(120, {0.001: 100, 0.003: 120, math.inf: 120})
    found = figures(before, after, 2.0)
    assert found.requests_per_second == 10
    assert found.p95_seconds == pytest.approx(0.0029)


def test_without_traffic_the_p95_is_that_of_all_requests() -> None:
    same = Sample(100, {0.002: 100, math.inf: 100})
    found = figures(same, same, 1.0)
    assert found.requests_per_second == 0
    assert found.p95_seconds == pytest.approx(0.0019)


def test_a_restart_between_the_scrapes_counts_from_zero() -> None:
    assert figures(Sample(100), Sample(5), 1.0).requests_per_second == 5


@pytest.mark.parametrize(("before", "after"), [(None, Sample(1)), (Sample(1), None), (None, None)])
def test_a_failed_scrape_gives_no_figures(before: Sample | None, after: Sample | None) -> None:
    assert figures(before, after, 1.0).requests_per_second is None


def test_nothing_counted_has_no_quantile() -> None:
    assert quantile({}) is None
    assert quantile({0.1: 0, math.inf: 0}) is None


def test_a_quantile_beyond_the_last_bound_is_that_bound() -> None:
    assert quantile({0.1: 1, math.inf: 100}) == 0.1
