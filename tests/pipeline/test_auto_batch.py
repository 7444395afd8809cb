"""``batch=auto``: settled once, for the largest candidate, and kept by the run."""

import csv
import io
from contextlib import redirect_stdout

import pytest
import torch
import yaml
from ultralytics.engine.trainer import BaseTrainer

from tests.helpers.shapes import draw
from yolo_nas_ext.cli import main
from yolo_nas_ext.config.search import configure
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.estimators.training import Training
from yolo_nas_ext.host import devices
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.pipeline import auto_batch, baselines


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("shapes"))


@pytest.fixture
def asked(monkeypatch):
    """Which networks are asked for, and among how many trainings; all have room for 24 images."""
    found = []

    def fitting_batch(self, architecture, sharing=1):
        found.append((architecture, sharing))
        return 24, "cuda:0"

    monkeypatch.setattr(Training, "fitting_batch", fitting_batch)
    monkeypatch.setattr(devices, "pool", lambda device: tuple(device.split(",")) if device else ())
    return found


def config(shapes, **given):
    usual = {"data": str(shapes), "imgsz": 64, "threads": 1, "batch": "auto"}
    return configure({**usual, **given}, {}, {})


def settle(config):
    data = read(config.data)
    return auto_batch.settle(config, data, None, baselines.named(config, None))


def test_it_is_asked_once_for_the_largest_network(shapes, asked):
    settled, notes = settle(config(shapes, baseline="yolo11n,yolo11m"))
    ((network, sharing),) = asked
    assert baselines.named(settled, None)[1].network == network and sharing == 1
    assert settled.auto_batch == settled.images_a_step == 24 and settled.halves
    assert notes == ["batch=auto is 24, by Ultralytics for yolo11m at 64 px on cuda:0"]
    assert settle(settled) == (settled, []) and len(asked) == 1


def test_trainings_that_share_a_gpu_share_its_memory(shapes, asked):
    _, notes = settle(config(shapes, device="0,1", jobs=5))
    assert asked[0][1] == 3 and notes[0].endswith("which 3 trainings share")


def test_a_number_stays_as_it_is(shapes, asked):
    given = config(shapes, batch=4)
    assert settle(given) == (given, []) and not asked and not given.halves


def test_what_does_not_fit_at_all_is_a_line(shapes, monkeypatch):
    def fitting_batch(self, architecture, sharing=1):
        raise TrialError("memory", "no usable batch size found")

    monkeypatch.setattr(Training, "fitting_batch", fitting_batch)
    with pytest.raises(
        NASError, match=r"batch=auto: \S+ does not fit .*no usable.*; give a number"
    ):
        settle(config(shapes))


@pytest.mark.parametrize("value", ["auto", "AUTO", -1, "-1"])
def test_how_it_is_given(shapes, value):
    assert config(shapes, batch=value).batch == -1


@pytest.mark.parametrize("value", [0, -2, 0.7, "automatic"])
def test_how_it_is_not(shapes, value):
    with pytest.raises(NASError, match=r"batch takes a whole number of 1 .*, or auto"):
        config(shapes, batch=value)


def test_a_run_records_what_was_found_and_which_trials_were_halved(shapes, tmp_path, monkeypatch):
    seen, train = [], BaseTrainer._do_train

    def limited(trainer):
        seen.append(trainer.batch_size)
        if len(seen) == 2:  # the second trial's first attempt
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return train(trainer)

    monkeypatch.setattr(BaseTrainer, "_do_train", limited)
    given = [f"data={shapes}", f"project={tmp_path}", "name=run", "batch=auto", "baseline=none"]
    given += ["epochs=1", "imgsz=64", "trials=3", "confirm=0", "strategy=random", "threads=1"]
    with redirect_stdout(io.StringIO()) as printed:
        assert main(["search", *given]) == 0
    assert seen == [16, 16, 8, 16]
    kept = yaml.safe_load((tmp_path / "run" / "args.yaml").read_text())
    assert (kept["batch"], kept["auto_batch"]) == (-1, 16)
    table = (tmp_path / "run" / "trials.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [float(row["batch"]) for row in rows] == [16, 8, 16]
    text = printed.getvalue()
    assert "batch=auto is 16" in text and "takes its default" in text and " with batch=8" in text
    assert "trial 2 did not fit into memory with batch=16, and trained with half of it" in text
    with redirect_stdout(io.StringIO()) as printed:
        assert main(["search", f"resume={tmp_path / 'run'}", "trials=4"]) == 0
    assert seen[4:] == [16] and "batch=auto is" not in printed.getvalue()
