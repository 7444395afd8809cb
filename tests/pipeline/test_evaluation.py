"""What evaluates: the pool of devices is that of trials, repeats and confirmations."""

from functools import partial

import pytest

from yolo_nas_ext import executors
from yolo_nas_ext.config.search import configure
from yolo_nas_ext.host.arguments import REFUSED, TRAINING
from yolo_nas_ext.pipeline import evaluation
from yolo_nas_ext.study.trial import Trial


@pytest.mark.parametrize("made", [evaluation.executor, evaluation.here])
def test_workers_share_the_gpus_that_are_named(monkeypatch, made):
    asked = []
    monkeypatch.setattr(executors, "make", lambda *given, **more: asked.append((given, more)))
    monkeypatch.setattr(evaluation.devices, "pool", lambda device: tuple(device.split(",")))
    config = configure({"device": "0,1,2", "jobs": 6}, TRAINING, REFUSED)
    made(config, print)
    assert asked == [(("local", print, 6), {"devices": ("0", "1", "2")})]


def test_a_second_measurement_is_of_another_seed_on_the_workers_own_device():
    told = []

    class Evaluate:
        def __call__(self, trial, **other):
            return {"fitness": float(other["seed"])}

        use_device = told.append

    again = evaluation.Again(Evaluate(), 8)  # pyright: ignore[reportArgumentType]
    again.use_device("3")
    assert again(Trial(0, None), partial(pytest.fail)) == {"fitness": 8.0} and told == ["3"]
