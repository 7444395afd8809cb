"""The parent trained twice on the same images."""

import json
from dataclasses import replace

import pytest

from tests.helpers.shapes import draw
from tests.helpers.trained import network
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators import twice
from yolo_nas_ext.estimators.base import Context
from yolo_nas_ext.estimators.training import ShortTraining
from yolo_nas_ext.host.dataset import read


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return read(draw(tmp_path_factory.mktemp("shapes")))


def test_it_is_trained_twice_and_measured_once(data, tmp_path):
    training = ShortTraining(data, epochs=1, imgsz=64, batch=4, threads=1)
    made = twice.Twice(training)
    made.use_context(Context(tmp_path))
    metrics = made.estimate(network(0), weights=tmp_path / "a.pt")
    assert metrics == training.estimate(network(0))
    found = json.loads((tmp_path / twice.FILE).read_text())
    assert found["fitness"][0] == metrics["fitness"] and len(found["without"]) == 2
    assert (tmp_path / "a.pt").is_file() and twice.read(tmp_path) is not None


def test_one_held_out_patient_is_parted_by_images(data, tmp_path):
    groups = tuple(f"patient {index % 2}" for index in range(len(data.images)))
    two = replace(data, together=groups)
    training = ShortTraining(two, epochs=1, imgsz=64, batch=4, threads=1)
    assert len({two.groups[index] for index in training.split[1]}) == 1
    made = twice.Twice(training)
    made.use_context(Context(tmp_path))
    made.estimate(network(0))
    found = json.loads((tmp_path / twice.FILE).read_text())
    assert [len(without) for without in found["without"]] == [min(10, len(training.split[1]))] * 2


def test_one_held_out_image_tells_nothing(data, tmp_path):
    training = ShortTraining(data, epochs=1, imgsz=64, batch=4, threads=1, val_fraction=0.01)
    assert len(training.split[1]) == 1
    made = twice.Twice(training)
    made.use_context(Context(tmp_path))
    assert made.estimate(network(0))["fitness"] >= 0
    assert twice.read(tmp_path) is None


def test_a_re_evaluation_is_one_training(data, tmp_path):
    made = twice.Twice(ShortTraining(data, epochs=1, imgsz=64, batch=4, threads=1))
    made.use_context(Context(tmp_path))
    made.estimate(network(0), {"seed": 1})
    assert twice.read(tmp_path) is None


@pytest.mark.parametrize("text", ["{", "[]", '{"fitness": [1], "without": []}'])
def test_a_damaged_file_is_one_line(text, tmp_path):
    (tmp_path / twice.FILE).write_text(text)
    with pytest.raises(NASError, match=r"noise.json is damaged"):
        twice.read(tmp_path)
