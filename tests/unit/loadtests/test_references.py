from pathlib import Path

import grpc
import yaml
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2
from predmesh.prediction.v1 import prediction_service_pb2 as pb
from predmesh.prediction.v1.prediction_service_pb2_grpc import PredictionServiceStub

from loadtests.bench.servers import patched, program_running
from loadtests.references.transcoding import transcoding_descriptors

ANSWER = pb.PredictResponse(model="flight-delay", model_version="1", prediction_ids=["a-0"])


def rules(descriptors: descriptor_pb2.FileDescriptorSet) -> dict[str, str]:
    found = {}
    for file in descriptors.file:
        for service in file.service:
            for method in service.method:
                if method.options.HasExtension(annotations_pb2.http):
                    found[f"{service.name}/{method.name}"] = method.options.Extensions[annotations_pb2.http].post
    return found


def test_the_echos_contract_has_predict_itself_on_the_path_of_rest():
    found = rules(transcoding_descriptors())
    assert found["PredictionService/Predict"] == "/v1/models/{model}:predict"
    assert "PredictionHttpService/PredictHttp" not in found
    assert "PredictionHttpService/ExplainHttp" in found


def test_the_bare_echo_gives_everyone_the_recorded_answer(tmp_path: Path):
    answer, socket = tmp_path / "answer", tmp_path / "bare.sock"
    answer.write_bytes(ANSWER.SerializeToString())
    with (
        program_running("bare", socket, tmp_path, "--socket", str(socket), "--answer", str(answer)),
        grpc.insecure_channel(f"unix:{socket}") as channel,
    ):
        stub = PredictionServiceStub(channel)
        assert [stub.Predict(pb.PredictRequest(model=name), timeout=10) for name in ("a", "b")] == [ANSWER, ANSWER]


def test_a_patch_replaces_keys_of_a_copied_bundle(tmp_path: Path):
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "predmesh.yaml").write_text("name: m\nbudget: 200ms\n")
    (bundle / "model.ubj").write_bytes(b"trees")
    out = patched(bundle, {"budget": "1s", "stages": {"features": "in-process"}}, tmp_path / "out")
    assert yaml.safe_load((out / "predmesh.yaml").read_text()) == {
        "name": "m",
        "budget": "1s",
        "stages": {"features": "in-process"},
    }
    assert (out / "model.ubj").read_bytes() == b"trees"
    assert (bundle / "predmesh.yaml").read_text() == "name: m\nbudget: 200ms\n"
