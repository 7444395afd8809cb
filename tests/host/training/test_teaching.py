"""A teacher by predictions: whatever its levels and head, and nothing to teach to its equal."""

from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ultralytics.cfg import get_cfg

from tests.helpers.networks import SMALL
from tests.helpers.shapes import draw_for
from yolo_nas_ext.estimators.training import ShortTraining
from yolo_nas_ext.host import models
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.host.training.teaching import (
    Level,
    Predictions,
    Taught,
    Teacher,
    branches,
    cells,
    difference,
    distance,
)
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.space.detector import DetectorSpace

TASKS = ("detect", "segment", "pose", "obb")


def network(task="detect", levels="3-5", end2end=False, bins=16):
    space = DetectorSpace.load("tiny", task)
    values = {name: options[0] for name, options in space.choices.items()}
    found = space.architecture(space.canonical({**values, **SMALL, "levels": levels}))
    return replace(found, head=replace(found.head, reg_max=bins, end2end=end2end))


def model(seed=0, task="detect", **more):
    """A network with norms of its own images, or its outputs would be next to nothing."""
    torch.manual_seed(seed)
    found = models.build(emit(network(task, **more), 2, task, (2, 3)), task=task, ch=3, nc=2)
    found.args = get_cfg(overrides={"task": task})
    for norm in found.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.weight.data.uniform_(0.5, 2)
            norm.momentum = 1.0
    with torch.no_grad():
        found.train()(IMAGES)
    head = found.model[-1]
    for branch in filter(None, (head.cv3, getattr(head, "one2one_cv3", None))):
        for scores in branch:
            scores[-1].bias.data[:] = -1  # sure of something
    return found


IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def predictions(levels, bins=4, nc=2, seed=0, images=2):
    generator = torch.Generator().manual_seed(seed)
    count = sum(level.height * level.width for level in levels)
    scores = torch.randn(images, nc, count, generator=generator)
    boxes = torch.randn(images, 4 * bins, count, generator=generator)
    boxes = boxes if bins > 1 else boxes.abs() + 1
    return Predictions(scores.requires_grad_(), boxes.requires_grad_(), levels)


def pyramid(*strides, side=64):
    return tuple(Level(s, -(-side // s), -(-side // s)) for s in strides)


@pytest.mark.parametrize(("bins", "end2end"), [(16, False), (1, False), (1, True), (16, True)])
def test_nothing_is_taught_to_an_equal(bins, end2end):
    student = model(end2end=end2end, bins=bins).eval()
    teacher = Teacher(deepcopy(student))
    mine = branches(student(IMAGES), student.model[-1])
    theirs = teacher.predict(IMAGES)
    assert set(mine) == ({"one2many", "one2one"} if end2end else {"one2many"})
    for name in mine:
        apart = difference(mine[name], theirs[name])
        assert (theirs[name].scores.sigmoid() > 0.05).any() and abs(apart.item()) < 1e-5
        apart.backward(retain_graph=True)
    grads = [p.grad.abs().max() for p in student.parameters() if p.grad is not None]
    assert grads and max(grads) < 1e-4
    assert distance(student, teacher, IMAGES) < 1e-5
    assert distance(model(1, end2end=end2end, bins=bins).eval(), teacher, IMAGES) > 0.01


@pytest.mark.parametrize("strides", [(8, 16), (4, 8, 16), (16, 32), (4, 8, 16, 32), (8, 16, 32)])
@pytest.mark.parametrize("bins", [1, 4])
def test_a_student_of_other_levels_comes_near(strides, bins):
    """Descent on the difference alone brings scores and boxes towards the teacher's."""
    teacher = predictions(pyramid(8, 16, 32), seed=1)
    student = predictions(pyramid(*strides), bins=bins)
    start = difference(student, teacher)
    optimizer = torch.optim.Adam([student.scores, student.boxes], lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        found = difference(student, teacher)
        found.backward()
        assert student.scores.grad.abs().sum() > 0 and student.boxes.grad.abs().sum() > 0
        optimizer.step()
    assert found < 0.3 * start
    again = difference(student, teacher)
    assert again == difference(student, teacher)


@pytest.mark.parametrize(
    ("mine", "theirs", "sources"),
    [
        ((8, 16), (8, 16, 32), {8: (8,), 16: (16, 32)}),  # without P5
        ((4, 8, 16), (8, 16, 32), {4: (8,), 8: (8,), 16: (16, 32)}),  # a P2 more
        ((16, 32), (4, 8, 16), {16: (4, 8, 16), 32: (16,)}),
        ((8, 16, 32), (8, 16, 32, 64), {8: (8,), 16: (16,), 32: (32, 64)}),
    ],
)
def test_each_cell_learns_from_the_surest_at_its_place(mine, theirs, sources):
    """The oracle goes through all pairs of cells."""
    student, teacher = predictions(pyramid(*mine, side=96)), predictions(pyramid(*theirs, side=96))
    index, same = cells(student, teacher)
    sure = teacher.scores.amax(1)
    for image in range(2):
        for cell, (x, y, stride) in enumerate(student.anchors.tolist()):
            best = None
            for other, (u, v, size) in enumerate(teacher.anchors.tolist()):
                if size not in sources[stride]:
                    continue
                if max(abs(x - u), abs(y - v)) * 2 < max(stride, size):
                    if best is None or sure[image, other] > sure[image, best]:
                        best = other
            assert index[image, cell] == best
            assert same[image, cell] == (teacher.anchors[best, 2] == stride)


def test_boxes_of_bins_and_of_distances_are_compared_as_boxes():
    levels = pyramid(8, 16)
    teacher = predictions(levels, bins=1)
    teacher.boxes.data = torch.randint(1, 4, teacher.boxes.shape).float()
    student = predictions(levels, bins=4)
    student.scores.data = teacher.scores.detach().clone()
    bins = torch.nn.functional.one_hot(teacher.boxes.long(), 4) * 50.0
    student.boxes.data = bins.permute(0, 1, 3, 2).flatten(1, 2).contiguous()
    assert difference(student, teacher) < 1e-4
    student.boxes.data = student.boxes.data.roll(1, 1)
    assert difference(student, teacher) > 0.1


def test_oriented_boxes_of_other_levels_are_left_to_the_labels():
    teacher = predictions(pyramid(32), seed=1)
    student = predictions(pyramid(16))
    difference(student, teacher, rotated=True).backward()
    assert student.scores.grad.abs().sum() > 0
    assert student.boxes.grad is None or not student.boxes.grad.any()
    same = predictions(pyramid(32))
    difference(same, teacher, rotated=True).backward()
    assert same.boxes.grad.abs().sum() > 0


def test_a_teacher_with_a_larger_stride_and_classes_in_another_order():
    teacher = model(levels="3-5")
    images = torch.rand(1, 3, 48, 48)
    found = Teacher(teacher).predict(images)["one2many"]
    assert found.levels == (Level(8, 8, 8), Level(16, 4, 4), Level(32, 2, 2))
    student = predictions(pyramid(8, 16, side=48), images=1)
    difference(student, found).backward()
    assert student.scores.grad.abs().sum() > 0
    turned = Teacher(teacher, [1, 0]).predict(images)["one2many"]
    assert turned.scores.flip(1).equal(found.scores) and turned.boxes.equal(found.boxes)
    assert not any(p.requires_grad for p in teacher.parameters())


@pytest.mark.parametrize("end2end", [False, True])
def test_a_criterion_keeps_its_own_losses(end2end):
    student, teacher = model(1, end2end=end2end), Teacher(model(levels="3-4"))
    student.train()
    batch = {
        "img": IMAGES,
        "batch_idx": torch.tensor([0.0, 1.0]),
        "cls": torch.tensor([[0.0], [1.0]]),
        "bboxes": torch.tensor([[0.5, 0.5, 0.4, 0.4], [0.4, 0.4, 0.2, 0.2]]),
    }
    criterion = student.init_criterion()
    preds = student(IMAGES)
    alone, items = criterion(preds, batch)
    taught = Taught(criterion, student.model[-1], teacher)
    losses, same = taught(preds, batch)
    assert losses[:-1].equal(alone) and same == items and losses[-1] > 0
    assert losses[-1].item() == pytest.approx(taught.noted[0].item() * len(IMAGES))
    # A teacher without a one-to-one branch teaches the other one, by its share of the loss.
    mine = branches(preds, student.model[-1])["one2many"]
    apart = difference(mine, teacher.predict(IMAGES)["one2many"]).item()
    assert taught.noted[0].item() == pytest.approx(apart * (0.8 if end2end else 1))
    assert hasattr(taught, "update") == end2end and not hasattr(taught, "other")
    if end2end:
        criterion.one2one.hyp = SimpleNamespace(epochs=3)
        taught.update()
        assert criterion.o2m == pytest.approx(0.45)
    losses.sum().backward()
    assert deepcopy(taught).noted


@pytest.mark.parametrize(
    ("task", "end2end"), [*((task, False) for task in TASKS), ("detect", True)]
)
def test_a_training_learns_from_a_network_of_other_levels(task, end2end, tmp_path):
    data = read(draw_for(task, tmp_path / "data"), task)
    options = {"task": task, "epochs": 1, "imgsz": 64, "batch": 4, "threads": 1}
    teacher = tmp_path / "teacher.pt"
    alone = ShortTraining(data, **options)
    kind = {"end2end": end2end, "bins": 1 if end2end else 16}
    alone.estimate(network(task, **kind), weights=teacher)
    taught = ShortTraining(data, **options, teacher=teacher)
    student = network(task, levels="3-4", **kind)
    seen = []
    first = taught.estimate(student, report=lambda epoch, metrics: seen.append(dict(metrics)))
    assert first == taught.estimate(student)
    assert first["loss_teacher"] > 0 and np.isfinite(list(first.values())).all()
    assert seen[0]["loss_teacher"] == first["loss_teacher"]
    without = alone.estimate(student)
    assert first.keys() - without.keys() == {"loss_teacher"}
    assert any(first[name] != without[name] for name in without)
