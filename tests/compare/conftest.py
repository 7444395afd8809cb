"""A small data set, and comparisons whose trainings take no time."""

import pytest

from tests.helpers.shapes import draw
from yolo_nas_ext.compare import definitions
from yolo_nas_ext.compare.comparison import Comparison
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.study.leaderboard import Model


@pytest.fixture(scope="session")
def shapes(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("shapes"), train=16, val=6)


class Fake:
    """A training without one: fitness is written into the definition."""

    task, epochs = "detect", 3

    def __init__(self, data):
        self.data = data
        self.asked = []
        self.split = [0], [1]

    def estimate(self, definition, fidelity, report=None, weights=None):
        self.asked.append((definition["of"], fidelity["seed"]))
        for epoch in (1, 2, 3):
            report(epoch, {})
        value = definition["fitness"]
        if isinstance(value, Exception):
            raise value
        if isinstance(value, type):
            raise value()
        if weights:
            weights.write_text("weights")
        return {"fitness": value + fidelity["seed"] / 100, "map50": 0.5}


@pytest.fixture
def make(shapes, tmp_path):
    """Make a comparison of models with the given fitness; it writes into the test's folder."""
    data = read(shapes)

    def made(fitness, **keys):
        training, said = Fake(data), []
        models = [
            Model(name, definition={"of": name, "fitness": value}, baseline=name.startswith("yolo"))
            for name, value in fitness.items()
        ]
        given = {"models": "a.yaml", "data": "x", "epochs": 3, "seeds": 2, "runtime": None, **keys}
        config, _ = definitions.settings(given)
        found = Comparison(config, training, tuple(models), tmp_path, say=said.append)
        return found, training, said

    return made
