"""Generations: exactly one default a model, whatever is deployed and taken out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from predmesh_bundle.generation import Generation, LiveModel, UnknownModel, with_model, without_model

Models = tuple[LiveModel, ...]


def model(name: str, version: str, content: str = "a", *, default: bool = True) -> LiveModel:
    return LiveModel(name=name, version=version, bundle_id=f"{name}-{version}-{content * 12}", default=default)


def default_of(models: Models, name: str) -> str:
    return Generation(number=1, models=models).find(name).version


NAMES, VERSIONS = st.sampled_from(["a", "b"]), st.sampled_from(["1", "2", "10"])
CHANGES = st.lists(st.tuples(NAMES, VERSIONS, st.sampled_from(["deploy", "keep default", "undeploy", "undeploy all"])))


def after(changes: list[tuple[str, str, str]]) -> Models:
    models: Models = ()
    for name, version, change in changes:
        if change.startswith("undeploy"):
            models = without_model(models, name, None if change.endswith("all") else version)
        else:
            models = with_model(models, model(name, version, default=change == "deploy"))
    return models


@given(CHANGES)
def test_every_live_name_has_exactly_one_default(changes: list[tuple[str, str, str]]) -> None:
    models = after(changes)
    for name in {each.name for each in models}:
        assert sum(each.default for each in models if each.name == name) == 1


@given(CHANGES)
def test_models_are_ordered_and_each_is_there_once(changes: list[tuple[str, str, str]]) -> None:
    keys = [(each.name, int(each.version)) for each in after(changes)]
    assert keys == sorted(set(keys))


@given(CHANGES, NAMES, VERSIONS)
def test_the_newest_deployed_is_the_default(changes: list[tuple[str, str, str]], name: str, version: str) -> None:
    assert default_of(with_model(after(changes), model(name, version)), name) == version


@given(CHANGES, NAMES, VERSIONS)
def test_without_default_the_default_stays(changes: list[tuple[str, str, str]], name: str, version: str) -> None:
    before = after(changes)
    now = with_model(before, model(name, version, default=False))
    if any(each.name == name for each in before):
        assert default_of(now, name) == default_of(before, name)


def test_an_undeployed_default_hands_over_to_the_highest_left() -> None:
    models = after([("a", "2", "deploy"), ("a", "10", "deploy"), ("a", "1", "deploy")])
    assert default_of(without_model(models, "a", "1"), "a") == "10"


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [
        ("wien", "", "no live model is called 'wien'; did you mean 'wine'?"),
        ("zzz", "", "no live model is called 'zzz'; there are beer, wine"),
        ("wine", "3", "model 'wine' has no live version '3'; there are 1, 2"),
    ],
)
def test_an_unknown_model_is_told_the_nearest(name: str, version: str, message: str) -> None:
    models = after([("wine", "1", "deploy"), ("wine", "2", "deploy"), ("beer", "1", "deploy")])
    with pytest.raises(UnknownModel) as caught:
        Generation(number=1, models=models).find(name, version)
    assert str(caught.value) == message
