"""Images as training sees them, of every task, without a trace in the global generators."""

import random
from copy import copy
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.shapes import draw_for
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.host.training.augmented import augmented_batches
from yolo_nas_ext.host.training.lean import TRAINERS
from yolo_nas_ext.host.training.session import session
from yolo_nas_ext.host.training.settings import TrainingSettings

PLAIN: dict[str, Any] = dict.fromkeys(
    "hsv_h hsv_s hsv_v degrees translate scale shear perspective flipud fliplr mosaic".split(), 0.0
)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    return {
        task: read(draw_for(task, tmp_path_factory.mktemp(task)), task)
        for task in ("detect", *(set(TRAINERS) - {"detect"}))
    }


def settings(task="detect", **overrides):
    return TrainingSettings(epochs=2, imgsz=64, batch=4, task=task, overrides=overrides)


@pytest.mark.parametrize("task", sorted(TRAINERS))
def test_images_of_a_task(task, sets):
    data, states = sets[task], (random.getstate(), np.random.get_state()[1], torch.get_rng_state())

    def drawn(seed, images=8):
        return augmented_batches(data, range(6), settings(task), images=images, seed=seed)

    first, again, other = drawn(0), drawn(0), drawn(1)
    assert len(first) == 2
    for batch in first:
        assert batch.shape == (4, 3, 64, 64) and batch.dtype == torch.float32
        assert 0 <= batch.min() and 0.3 < batch.max() <= 1
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert len(drawn(0, images=1)) == 1
    assert random.getstate() == states[0] and (np.random.get_state()[1] == states[1]).all()
    assert torch.equal(torch.get_rng_state(), states[2])


def test_without_augmentation_they_are_the_images(sets):
    data = sets["detect"]
    batches = augmented_batches(data, range(8), settings(**PLAIN), images=8, seed=0)
    drawn = sorted(image.sum().item() for batch in batches for image in batch)

    def use(trainer):
        images = trainer.held(data.labels[:8], augment=False, batch=4)
        return sorted((images[i]["img"].float() / 255).sum().item() for i in range(8))

    def make(arguments):
        return TRAINERS["detect"]({}, data, ([], []), settings(), arguments)

    plain = session(make, settings().arguments(), use, threads=1)
    assert np.allclose(drawn, plain)


def test_only_the_given_images_are_drawn(sets):
    data = copy(sets["detect"])
    one = augmented_batches(data, [3], settings(**PLAIN), images=8, seed=0)
    assert all(torch.equal(image, one[0][0]) for batch in one for image in batch)


def test_mosaics_are_those_of_the_last_epochs(sets):
    """Ultralytics closes them before a training ends, unless it is told not to."""
    data = sets["detect"]
    grey = 114 / 255

    def drawn(**overrides):
        batches = augmented_batches(data, range(8), settings(**overrides), images=8, seed=0)
        return torch.cat(batches)

    without, closed = drawn(mosaic=0.0), drawn(mosaic=1.0)
    assert torch.equal(without, closed)
    assert not torch.equal(without, drawn(mosaic=1.0, close_mosaic=0))
    assert (without == grey).any()  # moved and scaled, as training does
