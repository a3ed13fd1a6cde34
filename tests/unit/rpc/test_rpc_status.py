import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from predmesh.errors.v1.error_reason_pb2 import ErrorReason
from predmesh_rpc.errors import InvalidInput, NotFound, PredmeshError, TooMuch, Violation, camel
from predmesh_rpc.status import CODES, WIRE_BYTES, code_of, from_status, to_status
from predmesh_rpc.translate import translate


def details_of(status: status_pb2.Status) -> dict[str, object]:
    found = {}
    for detail in status.details:
        for kind in (
            error_details_pb2.ErrorInfo,
            error_details_pb2.BadRequest,
            error_details_pb2.RetryInfo,
            error_details_pb2.RequestInfo,
        ):
            if detail.Is(kind.DESCRIPTOR):
                found[kind.__name__] = kind.FromString(detail.value)
    return found


def many(count: int) -> InvalidInput:
    violations = [Violation(f"instances[{row}].carrier", "is none of AA, B6, DL") for row in range(count)]
    return InvalidInput("ERROR_REASON_INVALID_REQUEST", "the request is wrong", violations)


def test_every_kind_of_error_has_a_code() -> None:
    assert {code_of(kind("R", "m")) for kind in CODES} == set(CODES.values())


def test_a_kind_that_is_derived_has_its_parents_code() -> None:
    class ModelGone(NotFound):
        """A test's own."""

    assert code_of(ModelGone("R", "m")) is grpc.StatusCode.NOT_FOUND


def test_a_status_says_why_where_and_when_to_come_again() -> None:
    invalid = details_of(to_status(many(1), "r-1"))
    assert invalid["ErrorInfo"].domain == "predmesh.dev"  # type: ignore[attr-defined]
    assert invalid["RequestInfo"].request_id == "r-1"  # type: ignore[attr-defined]
    assert invalid["BadRequest"].field_violations[0].field == "instances[0].carrier"  # type: ignore[attr-defined]
    busy = details_of(to_status(TooMuch("ERROR_REASON_OVERLOADED", "full", 0.25)))
    assert busy["RetryInfo"].retry_delay.ToMilliseconds() == 250  # type: ignore[attr-defined]


def test_metadata_keys_are_written_as_json_writes_them() -> None:
    assert PredmeshError("R", "m", limit_rows=7).metadata == {"limitRows": "7"}
    assert camel("a") == "a"


def test_the_nearest_name_is_offered() -> None:
    assert Violation("carier", "is unknown", "carrier").description == "is unknown; did you mean 'carrier'?"


@pytest.mark.parametrize("count", [1, 100, 10_000])
def test_a_status_fits_into_trailing_metadata(count: int) -> None:
    status = to_status(many(count), "r" * 128)
    assert status.ByteSize() <= WIRE_BYTES
    listed = details_of(status)["BadRequest"].field_violations  # type: ignore[attr-defined]
    assert len(listed) == 1 if count == 1 else f"and {count - len(listed) + 1} more" in listed[-1].description


def test_a_long_message_fits_into_trailing_metadata() -> None:
    error = InvalidInput(
        "ERROR_REASON_INVALID_REQUEST", "é" * 9_000, [Violation("é" * 9_000, "é" * 9_000)], live="x" * 9_000
    )
    assert to_status(error, "r").ByteSize() <= WIRE_BYTES


def test_a_status_that_is_a_body_lists_all() -> None:
    listed = details_of(to_status(many(500), "r", limit_bytes=None))["BadRequest"].field_violations  # type: ignore[attr-defined]
    assert len(listed) == 500


def test_a_status_of_others_is_no_error_of_the_mesh() -> None:
    assert from_status(status_pb2.Status(code=5, message="no")) is None


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, "ERROR_REASON_STAGE_DOWN"),
        (grpc.StatusCode.CANCELLED, "ERROR_REASON_STAGE_DOWN"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "ERROR_REASON_DEADLINE"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "ERROR_REASON_OVERLOADED"),
        (grpc.StatusCode.UNIMPLEMENTED, "ERROR_REASON_NOT_OFFERED"),
        (grpc.StatusCode.NOT_FOUND, "ERROR_REASON_BUNDLE_UNKNOWN"),
        (grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_MODEL_FAILED"),
        (grpc.StatusCode.UNKNOWN, "ERROR_REASON_INTERNAL"),
        (grpc.StatusCode.DATA_LOSS, "ERROR_REASON_INTERNAL"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_bare_code_becomes_an_error_without_the_peers_text(code: grpc.StatusCode, reason: str) -> None:
    bare = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "unix:/secret/path")
    error = translate(bare, "features")
    assert error.reason == reason
    assert reason in ErrorReason.DESCRIPTOR.values_by_name
    assert "secret" not in error.message
    assert "features" in error.message


def test_unreadable_details_are_passed_over() -> None:
    trailing = grpc.aio.Metadata(("grpc-status-details-bin", b"\xff\xff"))
    error = translate(grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), trailing), "features")
    assert error.reason == "ERROR_REASON_STAGE_DOWN"
