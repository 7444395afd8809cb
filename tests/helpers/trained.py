"""Short trainings on drawn shapes, for tests of what is around them."""

import random

from yolo_nas_ext.host.training import trainer
from yolo_nas_ext.host.training.settings import TrainingSettings
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.space.detector import DetectorSpace

SETTINGS = {"epochs": 2, "imgsz": 64, "batch": 4, "threads": 1, "overrides": {"nbs": 4}}
CALL = ("weights", "on_epoch", "initial")  # of one training, which are no settings
SPLIT = (list(range(9)), [9, 10, 11])


def network(seed):
    space = DetectorSpace.load("tiny")
    return emit(space.architecture(space.sample(random.Random(seed))), 2)


def train(model, data, split=SPLIT, **more):
    """Train a definition by `SETTINGS`, but for what is given."""
    call = {name: more.pop(name) for name in CALL if name in more}
    return trainer.train(model, data, split, TrainingSettings(**{**SETTINGS, **more}), **call)


def run(data, seed=0, **more):
    return train(network(seed), data, **more)
