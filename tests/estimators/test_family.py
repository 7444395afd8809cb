"""The family of a parent: first weights, teacher, image sizes, and the networks at the end."""

import random
from dataclasses import replace

import pytest
import torch
from ultralytics import YOLO

from tests.helpers.parents import checkpoint
from tests.helpers.ranks import CpuLaunch, tell_of_gpus
from tests.helpers.shapes import draw, draw_for
from yolo_nas_ext.errors import TrialError
from yolo_nas_ext.estimators.base import Context
from yolo_nas_ext.estimators.family import Family
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.host.supernet import trainer
from yolo_nas_ext.host.training import distributed
from yolo_nas_ext.host.transfer.weights import load
from yolo_nas_ext.space.parent import ParentSpace

SIZES = (64, 96)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return read(draw(tmp_path_factory.mktemp("shapes")))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return load(checkpoint(tmp_path_factory.mktemp("parent"), nc=2))


def space_of(source, sizes=SIZES, task="detect"):
    return ParentSpace(replace(source.architecture, imgsz=64), task, sizes=sizes, within=True)


def family(data, source, folder, **more):
    settings = {
        "epochs": 2,
        "parent_epochs": 1,
        "imgsz": 64,
        "batch": 4,
        "threads": 1,
        "overrides": {"workers": 0},
        "sampling": "progressive",
        "distill": 1.0,
        "say": lambda line: None,
    }
    space = more.pop("space", None) or space_of(source)
    made = Family(data, space, inherit=source, digest="abc", **{**settings, **more})
    made.use_context(Context(folder))
    return made


@pytest.fixture(scope="module")
def made(data, source, tmp_path_factory):
    made = family(data, source, tmp_path_factory.mktemp("run"))
    yield made
    made.close()


def network(made, seed, **fixed):
    point = {**made.space.sample(random.Random(seed)), **fixed}
    return made.space.architecture(made.space.canonical(point))


def test_the_parents_network_is_the_fine_tuned_parent(made, tmp_path):
    origin = made.space.architecture(made.space.origin)
    file = tmp_path / "weights" / "nas-a.pt"
    found = made.estimate(origin, weights=file)
    assert {"fitness", "map50_95", "inherited_percent"} <= set(found)
    fine_tuned = YOLO(made.folder / "parent.pt").model.state_dict()
    written = YOLO(file).model.state_dict()
    assert all(torch.equal(value, written[name]) for name, value in fine_tuned.items())


def test_networks_are_measured_at_their_own_image_size(made, tmp_path):
    small, large = (network(made, 1, imgsz=size) for size in SIZES)
    assert small.key != large.key
    found = [made.estimate(one, weights=tmp_path / f"{one.key}.pt") for one in (small, large)]
    assert found[0] != found[1]
    stock = YOLO(tmp_path / f"{large.key}.pt")
    assert stock.overrides["imgsz"] == 96
    assert not any("yolo_nas_ext" in type(module).__module__ for module in stock.model.modules())
    again = made.evaluator(96).score(stock.model.float())
    assert again["val_loss_cls"] == pytest.approx(found[1]["val_loss_cls"], rel=0.02)


def test_what_was_trained_is_not_trained_again(made, data, source, monkeypatch):
    one = network(made, 2)
    found = made.estimate(one)
    monkeypatch.setattr(trainer, "session", lambda *_, **__: pytest.fail("trained again"))
    again = family(data, source, made.folder.parent)
    assert again.estimate(one) == found
    again.close()


def test_a_network_larger_than_the_parent_is_a_failed_trial(made):
    larger = ParentSpace(made.space.parent, sizes=SIZES)
    wide = larger.canonical({**larger.origin, "p3.width": max(larger.choices["p3.width"])})
    with pytest.raises(TrialError, match="the supernet has not the"):
        made.estimate(larger.architecture(wide))


@pytest.mark.parametrize(
    "task",
    [
        "segment",
        *(pytest.param(t, marks=pytest.mark.slow) for t in ("classify", "obb", "pose")),
    ],
)
def test_a_family_of_another_task(task, tmp_path):
    data = read(draw_for(task, tmp_path / "shapes"), task)
    parent = load(checkpoint(tmp_path, nc=data.nc, task=task, keypoints=data.keypoints))
    made = family(data, parent, tmp_path, space=space_of(parent, task=task), epochs=1)
    file = tmp_path / "nas-a.pt"
    assert made.estimate(network(made, 1), weights=file)["fitness"] >= 0
    assert YOLO(file).task == task
    made.close()


@pytest.mark.slow
def test_all_gpus_train_the_parent_and_the_supernet(data, source, tmp_path, monkeypatch):
    tell_of_gpus(monkeypatch)
    monkeypatch.setattr(distributed, "Launch", CpuLaunch)
    launched = []

    def launch(*args, **more):
        launched.append("supernet")
        return distributed.launched(*args, **more)

    monkeypatch.setattr(trainer, "launched", launch)
    lines = []
    ours = family(data, source, tmp_path, device="0,1", together=True, say=lines.append)
    with pytest.raises(TrialError):  # what scores them wants a GPU that is there
        ours.supernet()
    monkeypatch.undo()
    assert launched == ["supernet"] and "supernet: epoch 2/2" in " ".join(lines)
    ours = family(data, source, tmp_path)  # scores what is there
    one = network(ours, 1, imgsz=64)
    assert 0 < ours.estimate(one)["val_loss_box"] < 100
    ours.close()
