"""A trained network is measured in int8 and fp16 beside, without a trace in its own metrics."""

from __future__ import annotations

import math
import random

import pytest
import torch

from tests.helpers.networks import SMALL
from tests.helpers.shapes import draw_for
from tests.helpers.trained import run, train
from yolo_nas_ext.errors import TrialError
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.host.training import quantised
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.space.detector import DetectorSpace

LEARNS = {"nbs": 4, "optimizer": "AdamW", "lr0": 0.004}


def test_int8_is_measured_beside_and_changes_nothing_else(data) -> None:
    threads = torch.get_num_threads()
    plain = run(data).metrics
    both = run(data, precision="int8").metrics
    assert {name: v for name, v in both.items() if not name.startswith("int8_")} == plain
    beside = {name for name in both if name not in plain}
    assert {"int8_fitness", "int8_map50_95", "int8_map50"} <= beside
    assert not any("loss" in name for name in beside)
    assert all(math.isfinite(both[name]) for name in beside)
    assert torch.get_num_threads() == threads


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_what_has_learned_retains_most(data, precision) -> None:
    found = run(data, epochs=40, overrides=LEARNS, precision=precision).metrics
    share = found[f"{precision}_map50_95"] / found["map50_95"]
    assert found["map50_95"] > 0.1 and share > 0.8
    assert found[f"{precision}_retained"] == pytest.approx(share)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["segment", "pose", "obb", "classify"])
def test_every_task_that_is_said_to_be(task, tmp_path) -> None:
    data = read(draw_for(task, tmp_path / "set"), task)
    space = DetectorSpace.load("tiny", fix={**SMALL, "levels": "3-4"})
    architecture = space.architecture(space.sample(random.Random(0)))
    model = emit(architecture, data.nc, task, data.keypoints)
    split = (list(range(6)), [6, 7])
    found = train(model, data, split, epochs=1, task=task, precision="int8").metrics
    assert math.isfinite(found["int8_fitness"])


def test_at_least_a_hundred_images_are_seen() -> None:
    assert quantised.IMAGES >= 100


def test_a_network_that_cannot_be_quantised_fails_with_the_reason(data, monkeypatch) -> None:
    def fail(*_: object) -> bytes:
        raise ValueError("no such operator\nat all")

    monkeypatch.setattr(quantised, "quantized", fail)
    with pytest.raises(TrialError, match="ValueError: no such operator at all"):
        run(data, precision="int8")
