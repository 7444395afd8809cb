"""Calibration: statistics of batch norms are those that training would have left."""

import math

import pytest
import torch
from torch import nn

from tests.helpers.shapes import draw
from tests.helpers.trained import network
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.host.models import build
from yolo_nas_ext.host.supernet.evaluator import Evaluator
from yolo_nas_ext.host.training.settings import TrainingSettings

# Moved, scaled and coloured by much, so that plain images are far from what training sees.
AUGMENTED = {"translate": 0.4, "scale": 0.9, "hsv_v": 0.9, "mosaic": 0.0}
PLAIN = dict.fromkeys((*AUGMENTED, "hsv_h", "hsv_s", "fliplr"), 0.0)
IMAGES = 64


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return read(draw(tmp_path_factory.mktemp("images"), train=IMAGES + 4, val=1), "detect")


def evaluator(data, **overrides):
    settings = TrainingSettings(epochs=1, imgsz=64, batch=8, overrides=overrides)
    split = list(range(IMAGES)), list(range(IMAGES, IMAGES + 4))
    return Evaluator(network(0), data, split, settings)


def norms(model):
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def statistics(model):
    """Of the first norms; random weights make the later ones see much the same whatever comes."""
    return [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms(model)[:4]]


def apart(found, true):
    """How far means are apart, in deviations, and how far deviations are, in the logarithm."""
    shift = [
        ((a[0] - b[0]) / b[1].sqrt().clamp(min=1e-3)) for a, b in zip(found, true, strict=True)
    ]
    scale = [(a[1] + 1e-6).log() - (b[1] + 1e-6).log() for a, b in zip(found, true, strict=True)]
    return math.sqrt(torch.cat([*shift, *scale]).square().mean())


@torch.no_grad()
def test_norms_of_training_stay_and_plain_images_change_them(images):
    """The oracle: what Ultralytics' own loader of training images leaves in the norms."""
    torch.manual_seed(0)
    model = build(network(0), task="detect", ch=3, nc=2).train()
    bench = evaluator(images, **AUGMENTED)
    for norm in norms(model):
        norm.reset_running_stats()
        norm.momentum = None
    for _ in range(4):  # epochs
        for batch in bench.trainer.train_loader:
            model(bench.trainer.preprocess_batch(batch)["img"])
    trained = statistics(model)
    bench.calibrate(model)
    same = apart(statistics(model), trained)
    again = statistics(model)
    bench.calibrate(model)
    assert all(torch.equal(a[0], b[0]) for a, b in zip(again, statistics(model), strict=True))
    assert not model.training and all(norm.momentum == 0.03 for norm in norms(model))
    bench.close()
    plain = evaluator(images, **PLAIN)
    plain.calibrate(model)
    plain.close()
    other = apart(statistics(model), trained)
    assert same < 0.1 < 0.3 < other, (same, other)
