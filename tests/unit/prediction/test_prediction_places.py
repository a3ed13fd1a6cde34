"""Where the stages of a bundle run: what is opened, loaded, asked and told for each place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from predmesh_bundle.generation import Generation
from predmesh_bundle.schema import Stage
from predmesh_bundle.stages import Opened, Outside
from predmesh_bundle.store import Store, StoredBundle
from predmesh_prediction.installed import installed_stages
from predmesh_prediction.places import STAGES, Opener, Places, Reached
from predmesh_rpc.errors import DependencyDown

from tests.unit.prediction.prediction_fakes import DIGITS, FLIGHTS, changed, stored


@dataclass
class FakeStage:
    """A stage that notes what is done with it."""

    loaded: list[str] = field(default_factory=list)
    closed: bool = False
    down: bool = False

    async def load(self, bundle: StoredBundle) -> None:
        self.loaded.append(bundle.bundle_id)

    async def unload(self, bundle_id: str) -> None:
        if bundle_id in self.loaded:
            self.loaded.remove(bundle_id)

    async def flip(self, generation: Generation) -> None: ...

    async def check(self) -> None:
        if self.down:
            raise DependencyDown("ERROR_REASON_STORE_DOWN", "the online store does not answer")

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Opened[Any]]:
        yield Opened(self, self, self.check)
        self.closed = True


def reached(name: str) -> Reached:
    async def check() -> None: ...

    return Reached(name, check)


@dataclass
class Here:
    """Places with fake stages in this process."""

    places: Places
    stages: dict[str, FakeStage]

    @property
    def opened(self) -> set[str]:
        return {name for name, stage in self.stages.items() if stage.loaded}


@pytest.fixture
async def here() -> AsyncIterator[Here]:
    fakes = {stage: FakeStage() for stage in STAGES}
    local = {stage: reached(f"local {stage}") for stage in STAGES}
    remote: dict[Stage, Reached] = {stage: reached(f"remote {stage}") for stage in STAGES if stage != "explanation"}
    openers: dict[Stage, Opener] = {stage: fakes[stage].opened for stage in STAGES if stage != "explanation"}
    async with Places(local, remote, openers) as places:
        yield Here(places, {str(stage): fake for stage, fake in fakes.items()})


def flights(folder: Path, stages: Any) -> StoredBundle:
    return stored(changed(FLIGHTS, stages=stages), folder)


async def test_each_stage_is_asked_where_the_bundle_has_it(here: Here, tmp_path: Path) -> None:
    placed = {"features": "in-process", "inference": "remote"}
    stages = await here.places.load(flights(tmp_path, placed))
    assert [str(stages.preprocessing), str(stages.inference)] == ["local preprocessing", "remote inference"]
    assert here.opened == {"features"}


async def test_a_stage_that_a_bundle_does_not_have_is_not_opened(here: Here, tmp_path: Path) -> None:
    await here.places.load(stored(changed(DIGITS, stages="in-process"), tmp_path))
    assert here.opened == {"inference"}


async def test_a_bundle_that_goes_is_forgotten_and_the_stage_stays_open(here: Here, tmp_path: Path) -> None:
    bundle = flights(tmp_path, {"features": "in-process"})
    await here.places.load(bundle)
    await here.places.unload(bundle.bundle_id)
    assert not here.stages["features"].loaded
    assert not here.stages["features"].closed


async def test_what_was_opened_is_closed_in_the_end(tmp_path: Path) -> None:
    fake = FakeStage()
    async with Places({stage: reached(stage) for stage in STAGES}, {}, {"features": fake.opened}) as places:
        await places.load(flights(tmp_path, {"features": "in-process"}))
    assert fake.closed


async def test_a_remote_stage_without_an_address_says_which_variable_to_set(here: Here, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"set PREDICTION_EXPLANATION_REMOTE=host:port, or say `local`"):
        await here.places.load(flights(tmp_path, {"explanation": "remote"}))


async def test_a_stage_whose_package_is_missing_says_what_to_install(here: Here, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="install predmesh-explanation in the environment of the prediction service"):
        await here.places.load(flights(tmp_path, {"explanation": "in-process"}))


async def test_health_is_that_of_the_places_in_use(here: Here, tmp_path: Path) -> None:
    here.stages["features"].down = True
    await here.places.check("features")
    await here.places.load(flights(tmp_path, {"features": "in-process"}))
    with pytest.raises(DependencyDown, match="the online store does not answer"):
        await here.places.check("features")


@pytest.mark.parametrize(("place", "loaded"), [("in-process", False), ("local", True), ("remote", True)])
async def test_a_service_loads_what_prediction_does_not_run_itself(tmp_path: Path, place: str, loaded: bool) -> None:
    fake = FakeStage()
    await Outside("preprocessing", fake).load(flights(tmp_path, {"preprocessing": place}))
    assert bool(fake.loaded) is loaded


def test_every_stage_of_the_workspace_can_be_opened_by_its_name(tmp_path: Path) -> None:
    assert installed_stages(Store(tmp_path), {}).keys() == set(STAGES)


async def test_an_installed_stage_opens_with_the_settings_of_its_service(tmp_path: Path) -> None:
    variables = {"PREDMESH_HOME": str(tmp_path), "FEATURES_REDIS_URL": f"unix://{tmp_path}/no-redis.sock"}
    async with installed_stages(Store(tmp_path), variables)["features"]() as opened:
        with pytest.raises(DependencyDown):
            await opened.check()
