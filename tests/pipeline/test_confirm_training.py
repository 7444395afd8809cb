"""How the best of a search are trained before one is named."""

from types import SimpleNamespace

import pytest

from tests.helpers.shapes import draw
from yolo_nas_ext.config import rules
from yolo_nas_ext.config.search import configure
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators import training
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.pipeline import confirm
from yolo_nas_ext.pipeline.parent import alone


def config(**keys):
    return configure(keys, host_keys={}, refused={})


@pytest.mark.parametrize(
    ("keys", "way", "epochs"),
    [
        ({}, "again", None),
        ({"confirm_by": "full"}, "full", 100),
        ({"confirm_by": "full", "confirm_epochs": 30}, "full", 30),
        ({"confirm_by": "full", "estimator": "full", "epochs": 7}, "full", 7),
        ({"confirm_by": "short", "epochs": 9}, "short", 9),
        ({"confirm_by": "short", "estimator": "naswot"}, "short", 6),
        ({"estimator": "supernet"}, "tuned", 12),
        ({"estimator": "supernet", "confirm_by": "full"}, "full", 60),
        ({"model": "yolo11n.pt"}, "full", 30),
        ({"model": "yolo11n.pt", "final_epochs": 20}, "full", 20),
        ({"model": "yolo11n.pt", "confirm_epochs": 7}, "full", 7),
        ({"model": "yolo11n.pt", "confirm_by": "again"}, "again", None),
    ],
)
def test_what_is_not_said_is_what_suits_the_estimator(keys, way, epochs):
    found = config(**keys)
    rules.check(found)
    assert confirm.way(found) == way
    if epochs is not None:
        assert confirm.epochs_of(found) == epochs and f"{epochs} epochs" in confirm.how(found)


def test_what_starts_from_random_weights_is_trained_as_long_as_what_starts_from_a_parent():
    found = config(model="yolo11n.pt", final_epochs=20)
    beside = alone(found)
    assert (confirm.way(beside), confirm.epochs_of(beside)) == ("full", 20)
    assert alone(config(model="yolo11n.pt", confirm_by="again")).confirm_epochs is None


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"confirm_by": "ful"}, "confirm_by=ful: no such training. Did you mean 'full'?"),
        ({"confirm_by": "tuned"}, "confirm_by=tuned: goes on from the weights of estimator=super"),
        ({"confirm_by": "again", "estimator": "supernet"}, "the same shared weights would say"),
        ({"confirm_epochs": 3}, "confirm_epochs=3: is of a training of another kind"),
    ],
)
def test_what_has_no_part_in_the_search_is_refused(keys, said):
    with pytest.raises(NASError) as caught:
        rules.check(config(**keys))
    assert said in str(caught.value)


def test_the_best_are_trained_on_parts_that_are_held_out_in_turn(tmp_path, monkeypatch):
    splits, weights = [], []

    def train(model, data, split, settings, **more):
        splits.append(split)
        weights.append(more["weights"])
        return SimpleNamespace(metrics={"fitness": 0.1 * len(splits)})

    monkeypatch.setattr(training, "train", train)
    data = read(draw(tmp_path / "shapes"))
    found = config(estimator="naswot", confirm_by="short", confirm=1, folds=3, imgsz=64)
    rules.check(found)
    made = confirm.ConfirmTraining(found, data, None)
    assert made.train("yolov8n", tmp_path / "a.pt")["fitness"] == pytest.approx(0.2)
    held_out = [index for _, part in splits for index in part]
    assert sorted(held_out) == list(range(len(data.images)))  # each image once
    assert all(sorted([*kept, *part]) == sorted(held_out) for kept, part in splits)
    assert weights == [tmp_path / "a.pt", None, None]
    assert "mean of 3 parts held out in turn" in confirm.how(found)
