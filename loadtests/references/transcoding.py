"""The contracts with `Predict` itself on REST, so that Envoy turns JSON into the messages that the echo takes."""

from __future__ import annotations

from pathlib import Path

from google.api import annotations_pb2
from google.protobuf import descriptor_pb2
from predmesh_gateway.bootstrap import as_yaml, bootstrap
from predmesh_gateway.settings import Settings, contract_descriptors

PACKAGE = "predmesh.prediction.v1"
REST = "/v1/models/{model}:predict"


def transcoding_descriptors() -> descriptor_pb2.FileDescriptorSet:
    """The contracts' descriptor set, where REST's predict goes to PredictionService instead of the strict front."""
    # A set read before annotations_pb2 was imported would keep its options as unknown fields.
    found = descriptor_pb2.FileDescriptorSet.FromString(contract_descriptors().read_bytes())
    methods = {
        f"{service.name}/{method.name}": method
        for file in found.file
        if file.package == PACKAGE
        for service in file.service
        for method in service.method
    }
    methods["PredictionHttpService/PredictHttp"].options.ClearExtension(annotations_pb2.http)
    rule = methods["PredictionService/Predict"].options.Extensions[annotations_pb2.http]
    rule.post, rule.body = REST, "*"
    return found


def transcoding(settings: Settings) -> str:
    """The gateway's configuration, where no route is left untranscoded."""
    configuration = bootstrap(settings)
    for found in configuration["static_resources"]["listeners"]:
        manager = found["filter_chains"][0]["filters"][0]["typed_config"]
        for host in manager["route_config"]["virtual_hosts"]:
            for route in host["routes"]:
                if "route" in route:
                    route.pop("typed_per_filter_config", None)
    return as_yaml(configuration)


def write_descriptors(path: Path) -> Path:
    """Writes them for Envoy."""
    path.write_bytes(transcoding_descriptors().SerializeToString())
    return path
