"""Generated Maven projects: where things are put, and what is refused."""

import pytest
from predmesh_clients.java import java_files
from predmesh_clients.package import ClientError, ClientPackage
from predmesh_compiler.contracts import Contract


def test_each_set_of_clients_has_its_classes_in_packages_of_its_own(flights: Contract, everything: Contract) -> None:
    files = java_files(ClientPackage("air-traffic", [flights, everything]))
    shared = files["src/main/proto/predmesh/prediction/v1/provenance.proto"].decode()
    assert 'option java_package = "dev.predmesh.clients.air_traffic.prediction_v1";' in shared
    assert "src/main/java/dev/predmesh/clients/air_traffic/every_thing_v2/EveryThingClient.java" in files


def test_a_group_of_ones_own_comes_before_the_artifact(flights: Contract) -> None:
    pom = java_files(ClientPackage("flights", [flights], "example.air:delays", "2.1.0"))["pom.xml"].decode()
    wanted = ("<groupId>example.air</groupId>", "<artifactId>delays</artifactId>", "<version>2.1.0</version>")
    assert all(each in pom for each in wanted)


@pytest.mark.parametrize("registered", ["a:b:c", "a:"])
def test_what_maven_takes_for_no_artifact_is_refused(flights: Contract, registered: str) -> None:
    with pytest.raises(ClientError, match="write GROUP:ARTIFACT"):
        java_files(ClientPackage("flights", [flights], registered))
