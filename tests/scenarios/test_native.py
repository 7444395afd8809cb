"""What is found is a stock model: built, trained, exported and benchmarked with no plugin."""

import os
import random
import subprocess
import sys

import pytest

from tests.helpers.shapes import draw
from yolo_nas_ext.files import resource
from yolo_nas_ext.network.blocks import BLOCKS
from yolo_nas_ext.network.emit import to_yaml
from yolo_nas_ext.space.detector import DetectorSpace

SPACES = sorted(p.stem for p in resource("cfg", "spaces").glob("*.yaml"))
PLUGIN = {"efficientnet"}  # whose header says so
NATIVE = [name for name in SPACES if name not in PLUGIN]
PROGRAM = """
import sys
sys.modules["yolo_nas_ext"] = None  # as if it were not installed
import numpy
from ultralytics import YOLO
from ultralytics.utils.benchmarks import benchmark
definition, data, out = sys.argv[1:]
model = YOLO(definition)
model.train(data=data, epochs=1, imgsz=64, batch=4, plots=False, amp=False, verbose=False,
            project=out, name="train", workers=0)
best = f"{out}/train/weights/best.pt"
onnx = YOLO(best).export(format="onnx", imgsz=64)
results = YOLO(onnx, task="detect").predict(numpy.zeros((64, 64, 3), numpy.uint8), imgsz=64)
assert len(results) == 1
table = benchmark(model=best, data=data, imgsz=64, format="onnx", verbose=False)
print(table)
"""


def through_ultralytics(definition, data, out):
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(definition), str(data), str(out)],
        capture_output=True,
        text=True,
        cwd=out,
        env={**os.environ, "YOLO_OFFLINE": "1"},
    )
    assert run.returncode == 0, run.stderr[-3000:]
    rows = [line for line in run.stdout.splitlines() if "ONNX" in line and "✅" in line]
    assert rows, run.stdout[-3000:]  # the benchmark's row, with its tick


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("shapes"))


def sampled(name, seed, tmp_path):
    space = DetectorSpace.load(name)
    architecture = space.architecture(space.sample(random.Random(seed)))
    path = tmp_path / f"nas-{architecture.key}.yaml"
    path.write_text(to_yaml(architecture, 2))
    return path


def test_a_found_model_goes_all_the_way_without_the_plugin(data, tmp_path):
    through_ultralytics(sampled("tiny", 0, tmp_path), data, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", NATIVE)
def test_sampled_models_go_all_the_way_without_the_plugin(data, tmp_path, name, seed):
    through_ultralytics(sampled(name, seed, tmp_path), data, tmp_path)


@pytest.mark.parametrize("name", SPACES)
def test_a_space_with_plugin_blocks_says_so_and_others_have_none(name):
    space = DetectorSpace.load(name)
    kinds = {o for n, options in space.choices.items() if n.endswith(".block") for o in options}
    needs = any(BLOCKS[kind].plugin for kind in kinds)
    text = resource("cfg", "spaces", f"{name}.yaml").read_text(encoding="utf-8")
    assert needs == (name in PLUGIN) == ("NEEDS THIS PACKAGE" in text)


@pytest.mark.slow
def test_cells_are_a_data_set_of_ultralytics(tmp_path, monkeypatch):
    """`yolo detect train data=cells.yaml`: Ultralytics alone, with this package installed.

    The same in this process is a test of `data.builtin.cells`.
    """
    cache = tmp_path / "cache"
    program = (
        "import sys; from ultralytics.data.utils import check_det_dataset as check;"
        "d = check(sys.argv[1]); print(d['train']); print(d['val'])"
    )
    monkeypatch.setenv("YOLO_NAS_CACHE", str(cache))
    run = subprocess.run(
        [sys.executable, "-c", program, str(resource("datasets", "cells.yaml"))],
        capture_output=True,
        text=True,
        check=True,
    )
    train, val = run.stdout.splitlines()[-2:]
    assert train.startswith(str(cache)) and len(os.listdir(train)) == 240
    assert val.startswith(str(cache)) and len(os.listdir(val)) == 60
