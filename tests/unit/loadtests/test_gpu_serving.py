import json
from pathlib import Path

import pytest
from predmesh_bundle.loading import load_bundle

from loadtests.bench.servers import patched
from loadtests.gpu.offline import BUNDLE, plan_for
from loadtests.gpu.serving import MODEL, metrics_of


@pytest.mark.parametrize(("gpus", "device"), [(0, "cpu"), (2, "gpu")])
def test_the_bundle_is_whole_and_asks_for_the_device_that_is_there(tmp_path: Path, gpus: int, device: str):
    plan = plan_for(gpus)
    folder = patched(BUNDLE, {"inference": plan.inference}, tmp_path / "bundle")
    (folder / "model.pt2").touch()
    bundle = load_bundle(folder)
    assert (bundle.name, bundle.inference.device) == (MODEL, device)
    assert (bundle.inference.instances, bundle.inference.max_batch_rows) == (plan.instances, plan.batch_rows)


def test_prediction_is_found_among_the_programs_of_a_mesh():
    targets = [
        {"targets": [f"127.0.0.1:{port}"], "labels": {"service": name, "worker": name}}
        for port, name in enumerate(("triton", "prediction", "features"))
    ]
    assert metrics_of("prediction", json.dumps(targets)) == "127.0.0.1:1"
