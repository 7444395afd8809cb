"""``ddp=True``: every training takes all GPUs, which are some that torch is told of."""

import csv
import io
from contextlib import redirect_stdout

import pytest

from tests.helpers.parents import checkpoint
from tests.helpers.ranks import tell_of_gpus
from tests.helpers.shapes import draw
from yolo_nas_ext.cli import main
from yolo_nas_ext.config.compare import CompareSettings
from yolo_nas_ext.config.search import configure
from yolo_nas_ext.config.settings import read
from yolo_nas_ext.estimators.factory import training_options
from yolo_nas_ext.host.training import trainer

METRICS = {"fitness": 0.25, "map50_95": 0.25, "map50": 0.5, "loss_box": 1.0}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("shapes"))


@pytest.fixture
def launched(monkeypatch):
    """The devices and the batch of each distributed training; none of them is run."""
    found = []

    def launch(made, make, finish, **more):
        made.setup_model()
        found.append((made.args.device, made.world_size, made.args.batch))
        return dict(METRICS)

    tell_of_gpus(monkeypatch)
    monkeypatch.setattr(trainer, "launched", launch)
    return found


def said(*command):
    with redirect_stdout(io.StringIO()) as printed:
        assert main([*command]) == 0, printed.getvalue()
    return printed.getvalue()


def test_each_training_of_a_comparison_takes_all(shapes, tmp_path, launched):
    keys = [
        "models=yolov8n,yolo11n",
        f"data={shapes}",
        "epochs=1",
        "imgsz=64",
        "batch=4",
        "seeds=2",
    ]
    keys += [f"project={tmp_path}", "runtime=none", "device=0,1", "ddp=True"]
    said("compare", *keys)
    assert launched == [("0,1", 2, 4)] * 4


def test_so_does_the_fine_tuning_of_a_parent_alone(shapes, tmp_path, launched):
    parent = checkpoint(tmp_path / "parent", nc=2)
    keys = [f"model={parent}", f"data={shapes}", "trials=0", "imgsz=64", "batch=4", "confirm=0"]
    said("search", *keys, f"project={tmp_path}", "name=run", "device=0,1", "ddp=True")
    assert launched == [("0,1", 2, 4)]
    (row,) = csv.DictReader(io.StringIO((tmp_path / "run" / "trials.csv").read_text()))
    assert float(row["fitness"]) == 0.25 and float(row["inherited_percent"]) > 99


def test_without_it_each_gpu_has_a_training_of_its_own():
    given = {"device": "0,1"}
    assert configure(given, {}, {}).jobs == 2
    assert configure({**given, "ddp": True}, {}, {}).jobs == 1
    for more in ({}, {"ddp": True}):
        compared = read(CompareSettings, {**given, **more})
        assert compared.at_a_time == (1 if more else 2)
        assert training_options(compared)["together"] is bool(more)
        searched = configure({**given, **more}, {}, {})
        assert training_options(searched)["together"] is bool(more)
