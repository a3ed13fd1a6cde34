"""The text of a contract: protoc makes the compiled descriptor of it, and buf has nothing against it."""

from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from predmesh_bundle.reading import read_yaml
from predmesh_bundle.schema import Bundle
from predmesh_compiler import Contract, contract
from predmesh_testing.needs import needs

from tests.unit.compiler.conftest import ROOT, Lint, Protoc
from tests.unit.compiler.generated_bundles import bundles

EXAMPLES = sorted(path.parent.parent.name for path in ROOT.glob("examples/*/bundle/predmesh.yaml"))


def example(name: str) -> Contract:
    text = (ROOT / "examples" / name / "bundle" / "predmesh.yaml").read_bytes()
    return contract(Bundle.model_validate(read_yaml(text, "predmesh.yaml").values, context={"written": True}))


def without_places(compiled: Contract) -> bytes:
    file = descriptor_pb2.FileDescriptorProto()
    file.CopyFrom(compiled.file)
    file.ClearField("source_code_info")
    return file.SerializeToString()


@pytest.mark.parametrize("name", EXAMPLES)
def test_protoc_makes_the_same_of_the_text_of_an_example(name: str, by_protoc: Protoc) -> None:
    compiled = example(name)
    assert by_protoc(compiled).SerializeToString() == without_places(compiled)


@given(bundle=bundles())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_protoc_makes_the_same_of_the_text_of_any_bundle(bundle: Bundle, by_protoc: Protoc) -> None:
    compiled = contract(bundle)
    assert by_protoc(compiled).SerializeToString() == without_places(compiled)


@given(bundle=bundles())
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_descriptor_set_stands_by_itself(bundle: Bundle) -> None:
    compiled = contract(bundle)
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(compiled.files.SerializeToString()).file:
        pool.Add(file)
    methods = pool.FindServiceByName(compiled.service).methods
    assert [each.name for each in methods] == list(compiled.methods)


@needs("buf")
def test_buf_has_nothing_against_the_examples(lint: Lint) -> None:
    assert lint([example(name) for name in EXAMPLES]) == ""


@needs("buf")
@given(several=st.lists(bundles(), min_size=20, max_size=20, unique_by=lambda each: (each.name, each.version)))
@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
def test_buf_has_nothing_against_any_bundle(several: list[Bundle], lint: Lint) -> None:
    assert lint([contract(bundle) for bundle in several]) == ""


def test_there_are_examples() -> None:
    assert {"flights", "wine", "digits"} <= set(EXAMPLES), Path.cwd()
