"""What every estimator keeps, whatever it is."""

import math
import random

import pytest

from tests.helpers.shapes import draw
from yolo_nas_ext.config import rules
from yolo_nas_ext.config.search import configure
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.base import Context, hand_over
from yolo_nas_ext.estimators.factory import ESTIMATORS, make
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.space.detector import DetectorSpace


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return read(draw(tmp_path_factory.mktemp("shapes")))


@pytest.fixture(autouse=True)
def few_references(monkeypatch):
    monkeypatch.setattr("yolo_nas_ext.estimators.zero_cost.proxy.REFERENCES", 1)


def estimator(name, data):
    given = {"estimator": name, "epochs": 1, "imgsz": 64, "batch": 4, "threads": 1, "seed": 3}
    return make(configure(given, {}, {}), data)


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_metrics_are_finite_numbers_and_the_same_again(name, data, tmp_path):
    space = DetectorSpace.load("tiny")
    architecture = space.architecture(space.sample(random.Random(0)))
    made = estimator(name, data)
    assert all(isinstance(value, (int, float)) for value in made.fidelity.values())
    assert made.fidelity["imgsz"] == 64
    assert isinstance(made.seeded, bool)
    hand_over(Context(tmp_path), made)  # which changes no number
    found = made.estimate(architecture, made.fidelity)
    assert isinstance(found["fitness"], float) and all(map(math.isfinite, found.values()))
    assert all(isinstance(value, float) for value in found.values())
    assert made.estimate(architecture) == found
    random.seed(99)  # what else draws numbers does not matter
    assert estimator(name, data).estimate(architecture) == found


def test_an_unknown_name():
    with pytest.raises(NASError, match="Did you mean 'naswot'"):
        rules.check(configure({"estimator": "nasswot"}, {}, {}))
