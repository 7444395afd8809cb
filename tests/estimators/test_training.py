import random

import pytest

from tests.host.shapes import draw
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators import ESTIMATORS, make
from yolo_nas_ext.estimators.training import ShortTraining
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.space.emit import emit


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return read(draw(tmp_path_factory.mktemp("shapes")))


@pytest.fixture(scope="module")
def architecture():
    space = DetectorSpace.load("tiny")
    return space.architecture(space.sample(random.Random(0)))


def test_an_architecture_and_its_definition_are_the_same(data, architecture, tmp_path):
    short = ShortTraining(data, epochs=1, imgsz=64, batch=4, threads=2)
    metrics = short.estimate(architecture, weights=tmp_path / "w.pt")
    assert (tmp_path / "w.pt").stat().st_size > 10_000
    assert metrics == short.estimate(emit(architecture, 2))
    assert short.fidelity == {"epochs": 1, "imgsz": 64, "images": len(short.split[0])}


def test_keys_of_the_user_replace_the_recipe(data):
    short = ShortTraining(data, overrides={"lr0": 0.5, "degrees": 10.0})
    assert short.overrides["lr0"] == 0.5 and short.overrides["degrees"] == 10.0
    assert short.overrides["optimizer"] == "AdamW"


def test_the_held_out_part_depends_on_the_seed_alone(data):
    splits = [ShortTraining(data, seed=s, epochs=e).split for s, e in ((0, 1), (0, 9), (1, 1))]
    assert splits[0] == splits[1] != splits[2]


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_every_estimator_keeps_the_protocol(name, data, architecture):
    from yolo_nas_ext.config import configure

    config = configure(
        {"epochs": 1, "imgsz": 64, "batch": 4, "estimator": name, "threads": 2}, {}, {}
    )
    estimator = make(config, data)
    metrics = estimator.estimate(architecture)
    assert isinstance(metrics["fitness"], float) and dict(estimator.fidelity)
    assert all(isinstance(value, float) for value in metrics.values())
    assert metrics == estimator.estimate(architecture)


def test_unknown_estimator(data):
    from yolo_nas_ext.config import configure

    with pytest.raises(NASError, match="Did you mean 'short'"):
        make(configure({"estimator": "shorts"}, {}, {}), data)
