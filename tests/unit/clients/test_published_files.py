"""The files of contracts as clients get them: whole on the wire, and nothing that no client uses."""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from predmesh_clients.published_files import slim_files, with_foreign
from predmesh_compiler.contracts import Contract
from predmesh_compiler.proto_text import proto_text


def pool(files: list[descriptor_pb2.FileDescriptorProto]) -> descriptor_pool.DescriptorPool:
    made = descriptor_pool.DescriptorPool()
    for each in files:
        made.AddSerializedFile(each.SerializeToString())
    return made


def test_what_is_not_used_is_left_out(flights: Contract) -> None:
    files = {each.name: each for each in slim_files([flights])}
    shared = files["predmesh/prediction/v1/prediction_service.proto"]
    assert {each.name for each in shared.message_type} == {
        "StageTiming",
        "Degradation",
        "StreamError",
        "Attribution",
        "RowExplanation",
    }
    assert not shared.service
    assert not any("validate" in name or "annotations" in name for each in files.values() for name in each.dependency)


def test_each_file_has_its_imports_before_it(flights: Contract, everything: Contract) -> None:
    files = with_foreign(slim_files([flights, everything]))
    known = pool(files)
    assert known.FindMessageTypeByName(f"{flights.package}.Inputs")
    assert known.FindMessageTypeByName(f"{everything.package}.Inputs")


def test_messages_go_over_the_wire_as_the_whole_contract_writes_them(everything: Contract) -> None:
    name = f"{everything.package}.PredictRequest"
    slim, whole = (
        message_factory.GetMessageClass(pool(files).FindMessageTypeByName(name))
        for files in (with_foreign(slim_files([everything])), list(everything.files.file))
    )
    row = {"given_int32": 7, "given_bytes": b"hello", "few": [1, 2, 3], "carrier": 3}
    assert slim(instance=row).SerializeToString(deterministic=True) == whole(instance=row).SerializeToString(
        deterministic=True
    )


def test_comments_stay_with_what_they_are_about(flights: Contract) -> None:
    files = {each.name: proto_text(each) for each in slim_files([flights])}
    assert (
        "// Says how much one feature moved one answer.\nmessage Attribution {"
        in (files["predmesh/prediction/v1/prediction_service.proto"])
    )
    assert (
        "// The output itself.\n  ATTRIBUTION_SPACE_IDENTITY = 1;"
        in (files["predmesh/explanation/v1/explanation_service.proto"])
    )
