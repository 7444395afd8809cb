"""What is tried first: the parent, its pencils, the baselines, each from its own weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ultralytics import YOLO

from tests.helpers.parents import checkpoint, small
from tests.helpers.shapes import draw
from yolo_nas_ext.config.search import configure
from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.cost.latency.protocol import summary
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.training import FineTuning, ShortTraining
from yolo_nas_ext.host import latency as host_latency
from yolo_nas_ext.host import models
from yolo_nas_ext.pipeline import baselines, plan
from yolo_nas_ext.pipeline import parent as parents


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("parents")


@pytest.fixture(scope="module")
def mine(folder):
    return checkpoint(folder, seed=0)


@pytest.fixture(scope="module")
def other(folder):
    return checkpoint(folder, "other", seed=1)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("shapes"))


def made(shapes, **given):
    usual = {"data": str(shapes), "imgsz": 64, "threads": 1}
    return plan.make(configure({**usual, **given}, {}, {}))


def names(found):
    return [trial.name for trial in found.baselines]


def test_the_parent_comes_first_and_its_pencils_follow(shapes, mine):
    found = made(shapes, model=str(mine))
    parent, *others = found.baselines
    assert parent.name == "mine" and parent.network == replace(small(), imgsz=64)
    assert parent.point == found.space.point_of(parent.network)
    assert names(found)[1:] == list(found.first.pencils) and len(others) > 1
    limit = found.config.max_flops
    assert all(costs(t.network, 2, t.network.imgsz).flops <= limit for t in others)
    assert len({t.network.key for t in found.baselines}) == len(found.baselines)
    assert isinstance(found.estimator, FineTuning)
    assert [*found.first.begins] == ["mine"]  # which is trained twice, for the noise
    assert not made(shapes, model=str(mine), noise=False).first.begins
    assert names(made(shapes, model=str(mine), pencils=False)) == ["mine"]


def test_a_name_starts_from_random_weights_and_a_file_from_its_own(shapes, mine, other):
    given = {"model": str(mine), "baseline": f"yolov8n,{other}", "pencils": False}
    found = made(shapes, max_flops=None, **given)
    assert names(found) == ["mine", "yolov8n (random weights)", "other"]
    assert [trial.point is None for trial in found.baselines] == [False, True, True]
    begins = found.first.begins
    assert isinstance(begins["yolov8n (random weights)"].estimator, ShortTraining)
    assert begins["yolov8n (random weights)"].estimator.source is None
    assert not begins["yolov8n (random weights)"].estimator.projects
    assert begins["other"].estimator is None and begins["other"].inherit == other
    assert any("starts from random weights" in note for note in found.notes)
    assert any(f"baseline other starts from {other}" in note for note in found.notes)


def test_a_file_among_random_weights_is_called_by_its_whole_name(shapes, mine):
    found = made(shapes, baseline=f"yolov8n,{mine}")
    assert names(found) == ["yolov8n", "mine.pt"]
    assert found.baselines[1].point is None and found.first.begins["mine.pt"].inherit == mine


def test_the_network_of_the_parent_is_tried_once(shapes, mine, folder):
    twin = checkpoint(folder / "more", "mine", seed=0)
    found = made(shapes, model=str(mine), baseline=str(twin), pencils=False, sizes=None)
    assert names(found) == ["mine"]
    assert any("is not trained, as it is the network of mine" in n for n in found.notes)


def test_a_parent_over_the_budget_is_measured_and_no_answer(shapes, mine):
    limit = costs(small(), 2, 64).flops / 2
    found = made(shapes, model=str(mine), max_flops=limit)
    assert found.baselines[0].point is None
    assert any("mine, the parent, is over the budget" in note for note in found.notes)
    assert found.first.pencils


def test_a_parent_that_cannot_be_changed_is_measured_as_it_is(shapes, tmp_path):
    YOLO("yolo12n.yaml", verbose=False).save(tmp_path / "twelve.pt")
    found = made(shapes, model=str(tmp_path / "twelve.pt"), space="tiny")
    (parent,) = found.baselines
    assert parent.architecture is None and parent.point is None and parent.name == "twelve"
    begin = found.first.begins["twelve"]
    assert begin.definition["backbone"] and isinstance(begin.estimator, FineTuning)
    assert begin.estimator.source.architecture is None
    assert isinstance(found.estimator, ShortTraining) and found.estimator.source is None
    assert not found.estimator.projects  # as the parent's is not
    assert any("what twelve has at 64 px" in note for note in found.notes)


@pytest.mark.parametrize("given", ["yolo12n", "yolov5n", "yolov9t", "yolov10n", "rtdetr-l.yaml"])
def test_a_baseline_of_another_make_is_built_and_counted_by_ultralytics(shapes, given):
    found = made(shapes, baseline=given, space="tiny", max_flops=None)
    (trial,) = found.baselines
    assert (trial.name, trial.point, trial.architecture) == (Path(given).stem, None, None)
    assert trial.cost["params"] > 1e6 and trial.cost["flops"] > 1e7
    begin = found.first.begins[trial.name]
    assert begin.definition["backbone"] and begin.inherit is None and begin.estimator is None
    assert any(f"baseline {trial.name} is built and counted" in note for note in found.notes)
    small = made(shapes, baseline=given, space="tiny", max_params="1M")
    assert not small.baselines and any("over the budget" in note for note in small.notes)
    scored = made(shapes, baseline=given, space="tiny", estimator="naswot", max_flops=None)
    assert not scored.baselines and any("has no score" in note for note in scored.notes)


@pytest.fixture
def timed(monkeypatch):
    """What is measured, each network in 7 ms."""
    asked = []

    def measure_models(networks, protocol, **more):
        asked.append((networks, more))
        return {n: summary(np.full(20, 7.0), protocol, "a device", "1") for n in networks}

    monkeypatch.setattr(host_latency, "measure_models", measure_models)
    return asked


@pytest.mark.parametrize(
    ("name", "kind"),
    [("yolo26n-depth", "depth"), ("yolov8n-world", "world"), ("yoloe-11n", "yoloe")],
)
def test_what_nothing_here_trains_is_counted_and_timed(shapes, timed, name, kind):
    given = {"baseline": f"{name},yolov8n", "space": "tiny", "latency": "measure"}
    found = made(shapes, **given)
    assert names(found) == ["yolov8n"]
    (note,) = (n for n in found.notes if f"baseline {name} has" in n)
    assert "7.00 ms measured" in note and "FLOPs" in note and f"of the kind {kind}" in note
    (networks, more), *_ = timed
    assert more["task"] == kind and networks["network"]["nc"] == 2


def test_so_is_its_checkpoint(shapes, tmp_path):
    model = models.build(models.scaled(*models.definition("yolo26n-depth")), task="depth")
    torch.save({"model": model, "train_args": {}}, tmp_path / "mine.pt")
    found = made(shapes, baseline=str(tmp_path / "mine.pt"), space="tiny", max_flops=None)
    assert not found.baselines
    assert any("baseline mine has" in n and "of the kind depth" in n for n in found.notes)


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        ("{headless}", r"baseline=\S+headless.yaml: cannot be read"),
        ("nowhere.pt", r"baseline=nowhere\.pt: no such file"),
        ("{classes}", r"cannot be compared \(it is of task=classify, not detect\)"),
    ],
)
def test_what_is_no_baseline(tmp_path, baseline, message):
    YOLO("yolo11n-cls.yaml", verbose=False).save(tmp_path / "classes.pt")
    headless = tmp_path / "headless.yaml"
    headless.write_text("nc: 2\nbackbone: [[-1, 1, Conv, [8, 3, 2]]]\nhead: [[-1, 1, Conv, [8]]]\n")
    files = {"classes": tmp_path / "classes.pt", "headless": headless}
    given = {"baseline": baseline.format(**files)}
    with pytest.raises(NASError, match=message):
        baselines.named(configure(given, {}, {}), None)


def test_two_files_of_one_name(mine, folder):
    twin = checkpoint(folder / "twin", "mine", seed=2)
    config = configure({"model": str(mine), "baseline": str(twin)}, {}, {})
    (found,) = baselines.named(*parents.settle(config)[:2])
    assert found.name == "twin/mine"
