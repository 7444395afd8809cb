import random
from itertools import pairwise

import pytest
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.cfg import get_cfg

from tests.helpers.shapes import draw
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.host.one_batch import batch
from yolo_nas_ext.host.supernet import elastic, trainer
from yolo_nas_ext.host.supernet.model import Supernet, distance, extract
from yolo_nas_ext.host.training import checkpoint
from yolo_nas_ext.host.training.settings import TrainingSettings
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.space.supernet.sampling import paths
from yolo_nas_ext.space.supernet.slots import definition

SPLIT = (list(range(9)), [9, 10, 11])
NAMES = {0: "a", 1: "b"}
FIXES = {
    "tiny": {},
    "yolo": {
        "head.reg_max": 1,
        "head.end2end": True,
        "p3.depth": 2,
        "p4.depth": 2,
        "p4.width": 128,
        "p4.expansion": 0.5,
        "p5.expansion": 0.5,
        "p3.expansion": 0.5,
        "neck.width": 48,
    },
    "damo": {
        "head.reg_max": 16,
        "p4.width": 160,
        "p5.width": 256,
        "p5.hidden": 64,
        "p4.hidden": 64,
        "p3.width": 64,
        "p3.hidden": 32,
        "p4b.depth": 3,
        "p2.depth": 2,
    },
}
SMALL = {
    "p2.block": "c2f",
    "p4.block": "c3k2",
    "p5.block": "k1kx",
    "p4.down": "conv",
    "p3.width": 32,
    "p5.down": "conv",
    "p4.width": 64,
    "p5.width": 96,
    "neck.growth": 1,
    "neck.block": "c2f",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return read(draw(tmp_path_factory.mktemp("shapes")))


@pytest.fixture(scope="module")
def tiny():
    return DetectorSpace.load("tiny")


def build(space, channels=3):
    net = Supernet(definition(space, 2, channels), ch=channels, nc=2)
    generator = torch.Generator().manual_seed(1)
    for norm in net.modules():  # statistics of their own, or slices of them could be mixed up
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.uniform_(-0.1, 0.1, generator=generator)
            norm.running_var.uniform_(0.5, 2, generator=generator)
            norm.weight.data.uniform_(0.5, 1.5, generator=generator)
    return net


@pytest.fixture(scope="module")
def net(tiny):
    return build(tiny)


def network(space, seed):
    return space.architecture(space.sample(random.Random(seed)))


@pytest.mark.parametrize("name", ["tiny", "yolo", pytest.param("damo", marks=pytest.mark.slow)])
def test_an_extracted_network_computes_what_the_active_one_does(name):
    space = DetectorSpace.load(name, fix=FIXES[name])
    net = build(space)
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    seen = []
    for seed in range(5):
        architecture = network(space, seed)
        model = extract(net, architecture, NAMES)
        with torch.no_grad():
            mine, theirs = (m.eval()(image)[0] for m in (net, model))
            assert mine.shape == theirs.shape and (mine - theirs).abs().max() < 1e-5
            mine, theirs = (m.train()(image) for m in (net, model))
        for branch in ("one2many", "one2one") if "one2many" in mine else ("",):
            a, b = (m[branch] if branch else m for m in (mine, theirs))
            for part in ("boxes", "scores"):
                assert (a[part] - b[part]).abs().max() < 1e-5
        seen.append(theirs["one2one"]["scores"] if "one2one" in theirs else theirs["scores"])
    assert all(a.shape != b.shape or (a - b).abs().max() > 1e-3 for a, b in pairwise(seen))


def test_an_extracted_network_is_a_stock_model(net, tiny, tmp_path):
    model = extract(net, network(tiny, 3), NAMES).eval()
    file = tmp_path / "nas-x.pt"
    checkpoint.save(model, file, args={"task": "detect"}, metrics={})
    loaded = YOLO(file).model.float().eval()
    assert not any("yolo_nas_ext" in type(module).__module__ for module in loaded.modules())
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(model.half().float()(image)[0], loaded(image)[0], atol=1e-4)


def test_a_step_changes_the_active_weights_alone(net, tiny, data):
    images = batch(data, [0, 1], imgsz=64)
    net.args = get_cfg(overrides={"task": "detect"})
    values = {name: options[0] for name, options in tiny.choices.items()}
    narrow = tiny.architecture(tiny.canonical(values))
    net.train().zero_grad()
    net.paths = [narrow]
    net.loss(images)[0].sum().backward()
    block = next(row for row in net.rows if row.slot == "l2.block1")
    grads = {key: unit.conv.weight.grad for key, unit in block.units.items()}
    assert all((grad is not None) == key.startswith("c2f|") for key, grad in grads.items())
    last = grads["c2f|0/0/cv2:Conv/conv:Conv2d"]
    assert last[:16].abs().sum() > 0 and last[16:].abs().sum() == 0
    net.paths = ()


def test_several_networks_of_a_step_give_the_mean_of_their_gradients(net, tiny, data):
    images = batch(data, [0, 1], imgsz=64)
    net.args = get_cfg(overrides={"task": "detect"})
    net.train()
    three = [network(tiny, seed) for seed in range(3)]

    def gradient(networks):
        net.zero_grad()
        net.paths = networks
        net.loss(images)[0].sum().backward()
        return {n: p.grad.clone() for n, p in net.named_parameters() if p.grad is not None}

    alone = [gradient([one]) for one in three]
    together = gradient(three)
    for name, grad in together.items():
        mean = sum(g[name] for g in alone if name in g) / 3
        assert torch.allclose(grad, mean, atol=1e-4 * max(1, mean.abs().max())), name
    net.paths = ()


def test_a_teacher_is_nearest_to_itself():
    generator = torch.Generator().manual_seed(0)
    taught = {
        "scores": torch.randn(2, 3, 20, generator=generator),
        "boxes": torch.randn(2, 64, 20, generator=generator),
    }
    own = distance(taught, taught, 16)
    for part in taught:
        other = {**taught, part: taught[part] + torch.randn(taught[part].shape)}
        assert distance(other, taught, 16) > own


def test_networks_of_other_spaces_are_refused(net):
    with pytest.raises(NASError, match="the supernet has no"):
        net.activate(network(DetectorSpace.load("damo", fix=FIXES["damo"]), 0))
    yolo = DetectorSpace.load("yolo", fix=FIXES["yolo"])
    with pytest.raises(NASError, match="reg_max 1"):
        net.activate(network(yolo, 0))
    wide = DetectorSpace.load("tiny")
    wide.choices["p3.width"] = (512,)
    wide.choices["p4.width"] = wide.choices["p5.width"] = (512,)
    with pytest.raises(NASError, match=r"has not the \d+ channels"):
        net.activate(network(wide, 0))


def test_what_is_remembered_is_bounded(net, tiny, monkeypatch):
    monkeypatch.setattr(elastic, "KEPT", 3)
    for row in net.rows:
        row.wirings.clear()
    for seed in range(30):
        net.activate(network(tiny, seed))
    assert max(len(row.wirings) for row in net.rows) == 3


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def small():
    return DetectorSpace.load("tiny", fix=SMALL)


def fit(data, space, file, rule="spos", epochs=3, on_epoch=None, **more):
    draw_step = paths(rule, space, 0)
    trainer.fit(
        definition(space, data.nc),
        data,
        SPLIT,
        TrainingSettings(
            epochs=epochs,
            imgsz=64,
            batch=4,
            overrides={"nbs": 4, "optimizer": "AdamW", "workers": 0, "mosaic": 0.0},
        ),
        checkpoint=file,
        made_with={"rule": rule},
        steps=lambda epoch, step: [space.architecture(p) for p in draw_step(epoch, step)],
        on_epoch=on_epoch,
        pause=0,
        **more,
    )
    return torch.load(file)


@pytest.mark.parametrize(
    "rule,distill", [("spos", 0.0), pytest.param("sandwich", 1.0, marks=pytest.mark.slow)]
)
def test_an_interrupted_training_ends_with_the_same_weights(data, small, tmp_path, rule, distill):
    whole = fit(data, small, tmp_path / "whole.pt", rule, distill=distill)
    epochs = []

    def kill(epoch, metrics):
        epochs.append(epoch)
        if len(epochs) == 2:
            raise Killed

    with pytest.raises(Killed):
        fit(data, small, tmp_path / "cut.pt", rule, on_epoch=kill, distill=distill)
    assert torch.load(tmp_path / "cut.pt")["epoch"] == 1
    torch.rand(5)
    cut = fit(
        data,
        small,
        tmp_path / "cut.pt",
        rule,
        distill=distill,
        on_epoch=lambda epoch, metrics: epochs.append(epoch),
    )
    assert epochs == [1, 2, 2, 3]
    assert all(torch.equal(cut["ema"][name], value) for name, value in whole["ema"].items())


def test_a_finished_training_is_not_done_again_nor_mixed_up(data, small, tmp_path):
    file = tmp_path / "supernet.pt"
    fit(data, small, file, epochs=1)
    fit(data, small, file, epochs=1, on_epoch=lambda *_: pytest.fail("trained again"))
    with pytest.raises(NASError, match="trained with rule=spos, not fair; give rule=spos"):
        fit(data, small, file, "fair", epochs=1)
    file.write_bytes(b"damaged")
    with pytest.raises(NASError, match="not a supernet that can be read"):
        fit(data, small, file, epochs=1)
