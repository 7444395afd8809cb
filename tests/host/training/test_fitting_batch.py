"""``batch=auto``: what Ultralytics is asked, and what becomes of a training that does not fit."""

import pytest
import torch
from ultralytics.engine import trainer as ultralytics_trainer
from ultralytics.engine.trainer import BaseTrainer

from tests.helpers.trained import SETTINGS, SPLIT, network, run
from yolo_nas_ext.errors import TrialError
from yolo_nas_ext.host.training.fitting_batch import FRACTION, USUAL, fitting_batch
from yolo_nas_ext.host.training.settings import TrainingSettings

FULL = "CUDA out of memory. Tried to allocate 2.00 GiB"


@pytest.fixture
def room(monkeypatch):
    """A device with room for batches below a number; the batches that were tried on it."""
    tried = []

    def make(below, error=FULL):
        train = BaseTrainer._do_train

        def limited(trainer):
            tried.append((trainer.batch_size, trainer.args.nbs))
            if trainer.batch_size >= below:
                raise RuntimeError(error)
            return train(trainer)

        monkeypatch.setattr(BaseTrainer, "_do_train", limited)
        return tried

    return make


def test_on_a_cpu_it_is_the_default_of_ultralytics(data):
    settings = TrainingSettings(**SETTINGS, device="cpu")
    assert fitting_batch(network(0), data, SPLIT, settings) == (USUAL, "cpu")


@pytest.mark.parametrize(("sharing", "amp"), [(1, "bf16"), (3, False)])
def test_ultralytics_is_asked_with_what_its_own_trainer_asks(data, monkeypatch, sharing, amp):
    asked = []

    def check(**given):
        asked.append(given)
        return 24

    monkeypatch.setattr(ultralytics_trainer, "check_train_batch_size", check)
    more = {**SETTINGS, "overrides": {"amp": amp, "multi_scale": 0.5}, "short": False}
    settings = TrainingSettings(**more, device="cpu")
    found, _ = fitting_batch(network(0), data, SPLIT, settings, sharing=sharing)
    (given,) = asked
    objects = max(len(data.labels[index]["cls"]) for index in SPLIT[0])
    assert found == 24 and isinstance(given.pop("model"), torch.nn.Module)
    assert given == {
        "imgsz": 96,
        "amp": torch.bfloat16 if amp == "bf16" else False,
        "batch": FRACTION / sharing,
        "max_num_obj": 4 * objects,
        "dataset_size": len(SPLIT[0]),
    }


@pytest.mark.parametrize(
    "error", [FULL, "GET was unable to find an engine to execute this computation"]
)
def test_what_does_not_fit_is_tried_once_more_with_half(data, room, error):
    tried = room(4, error)
    metrics = run(data, epochs=1, halves=True).metrics
    assert metrics["batch"] == 2 and metrics["fitness"] >= 0
    assert tried == [(4, 4), (2, 4)]  # two steps are one of the optimiser


def test_it_is_halved_once(data, room):
    tried = room(2)
    with pytest.raises(TrialError, match=r"out of memory.*\(with batch=2; batch=4 did") as caught:
        run(data, epochs=1, halves=True)
    assert caught.value.kind == "memory" and len(tried) == 2


def test_a_batch_that_was_given_is_not_halved(data, room):
    tried = room(4)
    with pytest.raises(TrialError, match="out of memory"):
        run(data, epochs=1)
    assert len(tried) == 1
    assert "batch" not in run(data, epochs=1, batch=2).metrics


def test_what_fits_is_trained_once_and_other_failures_too(data, room):
    tried = room(9)
    assert run(data, epochs=1, halves=True).metrics["batch"] == 4
    with pytest.raises(TrialError, match="stopped in epoch"):
        run(data, epochs=1, halves=True, timeout=1e-9)
    assert len(tried) <= 2
