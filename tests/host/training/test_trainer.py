import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from ultralytics.nn.tasks import yaml_model_load

from tests.helpers.trained import network, run, train
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.network.blocks import BLOCKS  # noqa: F401


def test_metrics_have_the_names_of_the_field(data):
    metrics = run(data).metrics
    assert {"fitness", "map50_95", "map50", "precision", "recall", "loss_box", "loss_cls"} <= set(
        metrics
    )
    assert all(math.isfinite(v) for v in metrics.values())
    assert metrics["loss_box"] > 0


PROGRAM = """
import json, sys
from yolo_nas_ext.host.training import trainer
from yolo_nas_ext.host import models
from yolo_nas_ext.host.training import image_cache
from yolo_nas_ext.host.dataset import read
sys.path.insert(0, sys.argv[2])
from tests.helpers.trained import run
print(json.dumps(run(read(sys.argv[1])).metrics))
"""


def test_the_same_numbers_first_tenth_and_elsewhere(data, path):
    first = run(data).metrics
    run(data, seed=1, epochs=1)
    run(data, seed=2, epochs=1, imgsz=96)
    torch.rand(7)
    assert run(data).metrics == first
    root = Path(__file__).resolve().parents[3]
    child = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), str(root)],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
    )
    assert json.loads(child.stdout.splitlines()[-1]) == first
    assert run(data, **{"seed": 0, "epochs": 3}).metrics != first


def test_the_seed_changes_the_numbers(data):
    model = network(0)
    losses = {train(model, data, seed=seed).metrics["loss_box"] for seed in (0, 1, 2)}
    assert len(losses) == 3


def test_it_learns(data):
    short = run(data, epochs=1).metrics
    longer = run(data, epochs=20, overrides={"nbs": 4, "optimizer": "AdamW", "lr0": 0.004}).metrics
    assert longer["loss_box"] + longer["loss_cls"] < 0.75 * (short["loss_box"] + short["loss_cls"])


def test_a_task_without_a_trainer(data):
    with pytest.raises(NASError, match="Did you mean 'detect'"):
        run(data, task="detekt")


STOCK = """
import sys
sys.modules["yolo_nas_ext"] = None
import torch
from ultralytics import YOLO
model = YOLO(sys.argv[1])
assert model.task == "detect" and model.names == {0: "shape0", 1: "shape1"}
model.predict(torch.zeros(1, 3, 64, 64), verbose=False)
if sys.argv[4] == "1":  # what was loaded is the same either way, and so is its training
    model.train(data=sys.argv[2], epochs=1, imgsz=64, batch=4, plots=False, amp=False,
                verbose=False, project=sys.argv[3], workers=0)
"""


@pytest.mark.parametrize("safe", [pytest.param("0", marks=pytest.mark.slow), "1"])
def test_the_checkpoint_is_a_stock_one(data, path, tmp_path, safe):
    weights = tmp_path / "model.pt"
    run(data, weights=weights)
    assert str(Path.home()).encode() not in weights.read_bytes()
    assert b"yolo_nas_ext" not in weights.read_bytes()
    child = subprocess.run(
        [sys.executable, "-c", STOCK, str(weights), str(path), str(tmp_path / "runs"), safe],
        capture_output=True,
        text=True,
        env={**os.environ, "ULTRALYTICS_SAFE_LOAD": safe},
    )
    assert child.returncode == 0, child.stderr[-2000:]


def test_baselines_train(data, tmp_path):
    for name in ("yolov8n", "yolo11n", "yolo26n"):
        definition = yaml_model_load(f"{name}.yaml")
        definition["yaml_file"] = str(tmp_path / "local" / f"{name}.yaml")
        weights = tmp_path / "model.pt"
        metrics = train(definition, data, epochs=1, weights=weights).metrics
        assert math.isfinite(metrics["loss_box"])
        assert str(tmp_path).encode() not in weights.read_bytes()
        model = torch.load(weights, weights_only=False)["model"]
        norms = [m for m in model.modules() if type(m) is nn.BatchNorm2d]
        assert {norm.momentum for norm in norms} == {0.03}  # Ultralytics'
        assert {p.dtype for p in model.parameters()} == {torch.float16}
