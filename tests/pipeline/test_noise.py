"""What a search can find, said before it."""

import json
from copy import copy
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tests.helpers.shapes import draw
from yolo_nas_ext.config.search import configure
from yolo_nas_ext.estimators import twice
from yolo_nas_ext.estimators.training import ShortTraining
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.pipeline import noise
from yolo_nas_ext.pipeline.baselines import First

PARENT = SimpleNamespace(name="mine", unread="")


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    data = read(draw(tmp_path_factory.mktemp("shapes")))
    return ShortTraining(data, epochs=1, imgsz=64, batch=4, threads=1)


def recorded(folder, first, second):
    without = [[first - 0.03, first, first + 0.03], [second + 0.03, second, second - 0.03]]
    (folder / twice.FILE).write_text(json.dumps({"fitness": [first, second], "without": without}))


def test_the_line_names_images_objects_and_the_difference(training, tmp_path):
    recorded(tmp_path, 0.50, 0.51)
    held_out = training.split[1]
    objects = sum(len(training.data.labels[i]["cls"]) for i in held_out)
    said = noise.line(tmp_path, "mine", "mAP50-95", training)
    assert said.startswith(f"{len(held_out)} images with {objects} objects are held out.")
    least = twice.read(tmp_path).least()
    assert f"differences below {least:.4f} mAP50-95 are noise" in said
    assert least > noise.COARSE and said.endswith(noise.ADVICE)


def test_one_patient_is_said_to_be_one(training, tmp_path):
    recorded(tmp_path, 0.50, 0.51)
    data = training.data
    groups = tuple(f"patient {i in training.split[1]}" for i in range(len(data.images)))
    alone = copy(training)
    alone.data = replace(data, together=groups)
    assert "All are of one patient or group" in noise.line(tmp_path, "mine", "mAP50-95", alone)
    assert "patient" not in noise.line(tmp_path, "mine", "mAP50-95", training)


def test_nothing_is_said_where_nothing_was_measured_or_found(training, tmp_path):
    assert noise.line(tmp_path, "mine", "mAP50-95", training) == ""
    recorded(tmp_path, 0.0, 0.0)
    assert noise.line(tmp_path, "mine", "mAP50-95", training) == ""


@pytest.mark.parametrize(
    ("keys", "parent", "twice_"),
    [
        ({"trials": 12}, PARENT, True),
        ({"trials": 11}, PARENT, False),
        ({"trials": 12, "noise": False}, PARENT, False),
        ({"trials": 12}, None, False),
        ({"trials": 12}, SimpleNamespace(name="mine", unread="A2C2f"), False),
    ],
)
def test_the_parent_is_trained_twice_where_that_is_cheap(training, keys, parent, twice_):
    config = configure(keys, {}, {})
    found = noise.measured(First(), config, training, parent)
    assert ("mine" in found.begins) == twice_


def test_an_estimator_without_trainings_has_no_noise():
    config = configure({"trials": 12}, {}, {})
    assert noise.measured(First(), config, object(), PARENT) == First()
