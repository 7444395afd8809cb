"""Channels in another order: the same function, for every kind of parent."""

import random

import pytest
import torch
from torch import nn

from yolo_nas_ext.host import models
from yolo_nas_ext.host.meta_modules import undecoded
from yolo_nas_ext.host.transfer.convolutions import structure
from yolo_nas_ext.host.transfer.order import permute, sources
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.space.detector import DetectorSpace

PARENTS = [
    ("yolov8n", "detect"),
    ("yolo11n", "detect"),
    ("yolo26n", "detect"),
    ("yolo11s", "detect"),
    ("yolo11n", "segment"),
    ("yolo11n", "classify"),
    ("yolov8n", "pose"),
    ("yolo11n", "obb"),
    ("yolo26n", "segment"),
    ("yolo26n", "pose"),
    ("yolo26s", "obb"),
]


def build(architecture, task):
    """A model whose weights and statistics differ in every channel."""
    model = models.build(emit(architecture, 5, task), task=task, ch=3, nc=5)
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.5)
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def tensors(found):
    """All outputs but the features that the head reads, whose channels are in another order."""
    if isinstance(found, torch.Tensor):
        yield found
    elif isinstance(found, dict):
        for name, value in found.items():
            yield from () if name == "feats" else tensors(value)
    else:
        for value in found:
            yield from tensors(value)


def outputs(model, image):
    """What a model gives, and what its head gives in training, one after the other."""
    found = [*tensors(model(image))]
    undecoded(model)
    found += tensors(model(image))
    model.eval()
    return torch.cat([y.flatten() for y in found])


def shuffled(architecture, task):
    """Outputs of a model before and after all that can be exchanged is, and how many groups."""
    model = build(architecture, task)
    image = torch.rand(1, 3, 64, 64)
    found, coupled = structure(model, architecture)
    read_by = {c for conv in found.values() for c in conv.parts.reads if not conv.parts.depthwise}
    groups = {}
    for number, group in enumerate(coupled.groups):
        if any(channel in read_by for atom in group.atoms for channel in atom):
            groups[number] = random.Random(number).sample(range(len(group)), len(group))
    heads = {i: list(range(len(own)))[::-1] for i, own in enumerate(coupled.heads)}
    stem = model.state_dict()["model.0.conv.weight"].clone()
    with torch.no_grad():
        before = outputs(model, image)
        permute(model, found.values(), coupled, groups, heads)
        after = outputs(model, image)
    assert not model.state_dict()["model.0.conv.weight"].equal(stem)
    return before, after, len(groups)


@pytest.mark.parametrize(("name", "task"), PARENTS)
def test_the_function_stays(name, task):
    before, after, groups = shuffled(read(*models.definition(name, task)), task)
    assert groups > 30
    assert (before - after).abs().max() <= 1e-5 * before.abs().max()


@pytest.mark.parametrize("name", ["tiny", "yolo", "damo", "efficientnet"])
def test_the_function_of_networks_of_our_own_spaces_stays(name):
    space, rng = DetectorSpace.load(name), random.Random(3)
    for _ in range(3):
        before, after, groups = shuffled(space.architecture(space.sample(rng)), "detect")
        assert groups > 10
        assert (before - after).abs().max() <= 1e-5 * before.abs().max()


def test_copies_in_a_concatenation_take_from_copies_of_their_own():
    assert sources((4, 5, 4, 5), {4: 5, 5: 4}).tolist() == [1, 0, 3, 2]
    assert sources((4, 5, 6), {}).tolist() == [0, 1, 2]
