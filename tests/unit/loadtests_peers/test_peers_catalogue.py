import json
import re
import tomllib
from datetime import UTC, datetime, timedelta

import pytest

from loadtests.bench.flights import COLUMNS
from loadtests.bench.scenarios import Face
from loadtests.peers.asking import same
from loadtests.peers.catalogue import BARE_LIST, FOLDER, INSTANCES, PEERS, V2, Degraded, Peer
from loadtests.peers.feast_repo import expired
from loadtests.peers.mesh import Placement

ROW = {
    "carrier": "UA",
    "origin": "EWR",
    "dest": "ORD",
    "scheduled_departure": "2013-12-30T16:51:00-05:00",
    "distance_miles": 719.0,
}
NOW = datetime(2013, 12, 30, 17, tzinfo=UTC)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_peer_has_a_server_a_lock_of_its_own_and_a_paragraph_that_names_the_locked_version(peer: Peer):
    locked = tomllib.loads((peer.folder / "uv.lock").read_text())
    (version,) = (each["version"] for each in locked["package"] if each["name"] == peer.package)
    assert (peer.folder / "server.py").exists()
    assert re.search(rf"^\*\*{re.escape(peer.title)} {re.escape(version)}", (FOLDER / "README.md").read_text(), re.M)


def test_all_peers_read_and_predict_with_the_same_libraries():
    versions = set()
    for peer in PEERS:
        locked = tomllib.loads((peer.folder / "uv.lock").read_text())
        found = {each["name"]: each["version"] for each in locked["package"]}
        versions.add((found["feast"], found["xgboost-cpu"], found["onnxruntime"], found["redis"]))
    assert len(versions) == 1


def test_the_open_inference_form_has_a_tensor_an_input_and_nothing_for_an_unknown_plane():
    inputs = {each["name"]: each for each in V2.body([ROW, ROW])["inputs"]}
    assert tuple(inputs) == COLUMNS
    assert inputs["tailnum"] == {"name": "tailnum", "shape": [2], "datatype": "BYTES", "data": ["", ""]}
    assert inputs["distance_miles"]["datatype"] == "FP64"


@pytest.mark.parametrize(
    ("dialect", "answer"),
    [
        (INSTANCES, '{"predictions": [0.25, 0.5]}'),
        (BARE_LIST, "[0.25, 0.5]"),
        (V2, '{"outputs": [{"shape": [2, 1], "data": [0.25, 0.5]}]}'),
        (
            Placement.PROCESSES.dialect(Face.REST),
            '{"predictions": [{"late_probability": 0.25}, {"late_probability": 0.5}]}',
        ),
    ],
    ids=["instances", "bare list", "open inference protocol", "predmesh"],
)
def test_probabilities_are_read_from_each_form_of_answer(dialect, answer):
    assert dialect.answers(json.loads(answer)) == [0.25, 0.5]


def test_a_degraded_answer_is_no_answer():
    with pytest.raises(Degraded):
        Placement.PROCESSES.dialect(Face.REST).answers({"predictions": [], "degraded": [{"stage": "features"}]})


@pytest.mark.parametrize(
    ("found", "right"),
    [
        ([0.1, 0.2], True),
        ([0.1, 0.200009], True),
        ([0.1, 0.20002], False),
        ([0.1], False),
        ([0.1, float("nan")], False),
    ],
)
def test_answers_are_the_same_to_within_a_hundred_thousandth(found, right):
    assert same(found, [0.1, 0.2]) is right


@pytest.mark.parametrize(
    ("age", "ttl", "right"),
    [
        (timedelta(hours=4), timedelta(hours=3), True),
        (timedelta(hours=3), timedelta(hours=3), False),
        (timedelta(days=400), timedelta(), False),
        (None, timedelta(hours=3), False),
    ],
    ids=["too old", "just young enough", "no limit", "no value"],
)
def test_a_value_is_expired_when_it_is_older_than_its_limit(age, ttl, right):
    time = None if age is None else NOW - age
    assert expired([NOW, time], [timedelta(hours=1), ttl], NOW) is right
