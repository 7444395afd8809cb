"""A supernet of every task: outputs and losses of its active network are the stock model's."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from tests.helpers.shapes import draw_for
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.host.models import build as build_stock
from yolo_nas_ext.host.supernet.evaluator import Evaluator
from yolo_nas_ext.host.supernet.model import Supernet, distance, extract
from yolo_nas_ext.host.training.settings import TrainingSettings
from yolo_nas_ext.host.transfer import weights
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.network.rows import Task
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.space.supernet.slots import definition

NAMES = {0: "a", 1: "b"}
POINTS = (2, 3)
END2END = {
    "head.reg_max": 1,
    "head.end2end": True,
    "p3.depth": 2,
    "p4.depth": 2,
    "p4.width": 128,
    "p4.expansion": 0.5,
    "p5.expansion": 0.5,
    "p3.expansion": 0.5,
    "neck.width": 48,
}
TASKS = ("segment", "obb", "pose", "classify")
KINDS = (*((task, False) for task in TASKS), *((task, True) for task in TASKS[:3]))  # YOLO26's own
# Which outputs there are, beside those of a detector.
OWN = {"segment": {"mask_coefficient", "proto"}, "obb": {"angle"}, "pose": {"kpts"}}


def shake(model, seed=1):
    """Give norms statistics of their own, or slices of them could be mixed up."""
    generator = torch.Generator().manual_seed(seed)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.uniform_(-0.1, 0.1, generator=generator)
            norm.running_var.uniform_(0.5, 2, generator=generator)
            norm.weight.data.uniform_(0.5, 1.5, generator=generator)
            norm.bias.data.uniform_(-0.2, 0.2, generator=generator)
    return model


def supernet(task, space=None):
    space = space or DetectorSpace.load("tiny", task)
    return space, shake(Supernet(definition(space, 2, keypoints=POINTS), nc=2))


def network(space, seed):
    return space.architecture(space.sample(random.Random(seed)))


def named(outputs, name="out"):
    """Yield (name, tensor) of everything that a model returns."""
    if isinstance(outputs, dict):
        for key, value in outputs.items():
            yield from named(value, key)
    elif isinstance(outputs, (list, tuple)):
        for value in outputs:
            yield from named(value, name)
    else:
        yield name, outputs


@pytest.mark.parametrize(
    "task,space,yolo26", [*((t, "tiny", own) for t, own in KINDS), ("segment", "yolo", False)]
)
def test_an_extracted_network_computes_what_the_active_one_does(task, space, yolo26):
    fix = END2END if space == "yolo" else {}
    space, net = supernet(task, DetectorSpace.load(space, task, fix, yolo26=yolo26))
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    seen = []
    for seed in range(3):
        stock = extract(net, network(space, seed), NAMES)
        for training in (False, True):
            with torch.no_grad():
                mine, theirs = (list(named(m.train(training)(image))) for m in (net, stock))
            assert [name for name, _ in mine] == [name for name, _ in theirs]
            assert OWN.get(task, set()) <= {name for name, _ in mine}
            for (name, a), (_, b) in zip(mine, theirs, strict=True):
                assert a.shape == b.shape and (a - b).abs().max() < 1e-5, name
        seen.append(dict(theirs))
    for one, other in pairwise(seen):  # networks differ, in what is the task's own as well
        for name in OWN.get(task, {"out"}):
            a, b = one[name], other[name]
            assert a.shape != b.shape or (a - b).abs().max() > 1e-4, name


@pytest.fixture(scope="module")
def evaluators(tmp_path_factory):
    """What measures on a drawn data set of each task."""
    found = {}
    for task in TASKS:
        space = DetectorSpace.load("tiny", task)
        data = read(draw_for(task, tmp_path_factory.mktemp(task)), task)
        first = emit(network(space, 0), data.nc, task, data.keypoints)
        every = list(range(len(data.images)))
        split = every[:-4], every[-4:]
        settings = TrainingSettings(
            epochs=1, imgsz=64, batch=4, task=task, overrides={"workers": 0}
        )
        found[task] = Evaluator(first, data, split, settings)
    yield found
    for evaluator in found.values():
        evaluator.close()


@pytest.mark.parametrize("task,yolo26", KINDS)
def test_losses_and_predictions_are_ultralytics(task, yolo26, evaluators):
    trainer = evaluators[task].trainer
    batch = trainer.preprocess_batch(next(iter(trainer.test_loader)))
    space, net = supernet(task, DetectorSpace.load("tiny", task, yolo26=yolo26))
    stock = extract(net, network(space, 1), NAMES)
    for model in (net, stock):
        model.args = trainer.args
        model.train()
    with torch.no_grad():
        (mine, parts), (theirs, others) = (m.loss(batch) for m in (net, stock))
        assert parts.keys() == others.keys() and parts
        assert torch.allclose(mine.sum(), theirs.sum(), rtol=1e-5)
        decoded = list(named(net.head.decoded(net(batch["img"]))))
        for norm in stock.modules():  # which then use the batch's statistics, as in training
            if isinstance(norm, nn.BatchNorm2d):
                norm.track_running_stats, norm.running_mean, norm.running_var = False, None, None
        expected = list(named(stock.eval()(batch["img"])[0]))
    for (_, a), (_, b) in zip(decoded, expected, strict=True):
        assert torch.allclose(a, b, atol=1e-4)


def test_a_classifier_learns_from_its_teacher():
    generator = torch.Generator().manual_seed(0)
    taught = {"scores": torch.randn(4, 3, generator=generator)}
    own = distance(taught, taught, 1)
    probabilities = taught["scores"].softmax(1)
    assert torch.isclose(own, -(probabilities * probabilities.log()).sum(1).mean())
    other = {"scores": taught["scores"] + torch.randn(4, 3, generator=generator)}
    assert distance(other, taught, 1) > own


@pytest.mark.parametrize("task,yolo26", KINDS)
def test_weights_of_a_task_go_into_the_same_network(task, yolo26):
    space = DetectorSpace.load("tiny", task, yolo26=yolo26)
    architecture = network(space, 2)
    given = Task(2, task, POINTS)
    made = emit(architecture, 2, task, POINTS)
    found = []
    for seed in range(2):
        torch.manual_seed(seed)
        found.append(shake(build_stock(made, task=task, ch=3), seed))
    theirs, mine = found
    source = weights.source(architecture, theirs.state_dict(), NAMES, task=given)
    what = weights.transfer(mine, architecture, source, NAMES)
    assert what.percent == 100 and not what.sliced.names and not what.left.names
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        pairs = zip(*(named(m.eval()(image)) for m in (mine, source.model)), strict=True)
        assert all(a.equal(b) for (_, a), (_, b) in pairs)


def into_the_other_head(task, to_yolo26, images=None):
    """A network and one with the other head that took its weights; the report of the transfer."""
    spaces = [DetectorSpace.load("tiny", task, yolo26=own) for own in (not to_yolo26, to_yolo26)]
    theirs, mine = (network(space, 2) for space in spaces)
    models = []
    for seed, architecture in enumerate((theirs, mine)):
        torch.manual_seed(seed)
        models.append(shake(build_stock(emit(architecture, 2, task, POINTS), task=task, ch=3)))
    source = weights.source(theirs, models[0].state_dict(), NAMES, task=Task(2, task, POINTS))
    what = weights.transfer(models[1], mine, replace(source, images=images), NAMES)
    return source.model.eval(), models[1].eval(), what


@pytest.mark.parametrize("to_yolo26", [False, True])
@torch.no_grad()
def test_keypoints_of_the_other_head_are_at_the_same_places(to_yolo26):
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    for given in (None, images):
        theirs, mine, what = into_the_other_head("pose", to_yolo26, given)
        own = ("cv4_sigma", "flow_model") if to_yolo26 else ()
        assert all(any(part in name for part in own) for name in what.left.names)
        assert torch.allclose(mine(images)[0], theirs(images)[0], atol=1e-3)


@pytest.mark.parametrize("to_yolo26", [False, True])
def test_angles_of_the_other_head_are_learned_anew(to_yolo26):
    """It takes a logit for what this one takes for an angle; all else is the same."""
    theirs, mine, what = into_the_other_head("obb", to_yolo26)
    assert what.left.names and all(".cv4." in n and ".2." in n for n in what.left.names)
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        (_, one), (_, other) = mine(images), theirs(images)
    assert one["boxes"].equal(other["boxes"]) and not one["angle"].equal(other["angle"])


@pytest.mark.parametrize("to_yolo26", [False, True])
def test_masks_of_the_other_head_are_made_of_what_has_the_same_name(to_yolo26):
    *_, what = into_the_other_head("segment", to_yolo26)
    own = ("feat_refine", "feat_fuse", "semseg")
    assert bool(what.left.names) == to_yolo26
    assert all(any(part in name for part in own) for name in what.left.names)


def test_prototypes_are_taken_by_channel():
    """The transposed convolution has its input channels first."""
    space = DetectorSpace.load("tiny", "segment")
    point = space.canonical({**space.sample(random.Random(0)), "levels": "3-5"})
    sizes = space.choices["neck.width"]
    wide, narrow = (
        space.architecture(space.canonical({**point, "neck.width": size}))
        for size in (max(sizes), min(sizes))
    )
    theirs = build_stock(emit(wide, 2, "segment"), task="segment", ch=3)
    source = weights.source(wide, theirs.state_dict(), NAMES, task=Task(2, "segment"))
    mine = build_stock(emit(narrow, 2, "segment"), task="segment", ch=3)
    weights.transfer(mine, narrow, source, NAMES)
    small, large = (m.model[-1].proto.upsample for m in (mine, source.model))
    n = len(small.bias)
    assert n < len(large.bias)
    assert small.weight.equal(large.weight[:n, :n]) and small.bias.equal(large.bias[:n])


def test_prototypes_without_the_highest_level_keep_what_the_others_bring():
    space = DetectorSpace.load("tiny", "segment", yolo26=True)
    point = space.sample(random.Random(0))
    whole, less = (
        space.architecture(space.canonical({**point, "levels": levels, "context": "none"}))
        for levels in ("3-5", "3-4")
    )
    theirs = shake(build_stock(emit(whole, 2, "segment"), task="segment", ch=3))
    source = weights.source(whole, theirs.state_dict(), NAMES, task=Task(2, "segment"))
    mine = build_stock(emit(less, 2, "segment"), task="segment", ch=3)
    what = weights.transfer(mine, less, source, NAMES)
    small, large = (m.model[-1].proto for m in (mine, source.model))
    assert len(small.feat_refine) == 1 and len(large.feat_refine) == 2
    left = set(large.state_dict()) - set(small.state_dict())
    assert left and all(name.startswith("feat_refine.1.") for name in left)
    for name, value in small.state_dict().items():
        assert value.equal(large.state_dict()[name]), name
    assert what.parts["head P4 refined"][0] == what.parts["head P4 refined"][1] > 0


def test_a_detector_gives_a_segmentation_all_but_its_masks():
    space = DetectorSpace.load("tiny", "segment")
    architecture = network(space, 3)
    detector = build_stock(emit(architecture, 2), task="detect", ch=3)
    source = weights.source(architecture, detector.state_dict(), NAMES)
    model = build_stock(emit(architecture, 2, "segment"), task="segment", ch=3)
    what = weights.transfer(model, architecture, source, NAMES)
    head = len(model.model) - 1
    own = (f"model.{head}.cv4.", f"model.{head}.proto.")
    assert what.left.names and all(name.startswith(own) for name in what.left.names)
    assert not what.sliced.names
