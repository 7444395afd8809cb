"""A supernet that is filled with a parent's weights, and the teacher of its networks."""

import random
from dataclasses import replace

import pytest
import torch

from tests.helpers.parents import small
from yolo_nas_ext.host.supernet.family import Beginning, ClassGuidance, Guidance
from yolo_nas_ext.host.supernet.model import Supernet, extract
from yolo_nas_ext.host.training.teaching import Gains, Teacher
from yolo_nas_ext.host.transfer.weights import source, transfer, unset
from yolo_nas_ext.network.rows import Task
from yolo_nas_ext.space.parent import ParentSpace
from yolo_nas_ext.space.supernet.slots import corners, definition

NAMES = {0: "a", 1: "b"}


def parent_of(task):
    """Return a parent with random weights and statistics of its own."""
    torch.manual_seed(1)
    network = replace(small(task=task), imgsz=64)
    model = unset(network, Task(2, task))
    for norm in model.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.running_mean.uniform_(-0.1, 0.1)
            norm.running_var.uniform_(0.5, 2)
    return source(network, model.state_dict(), NAMES, task=Task(2, task))


def filled(parent, task):
    space = ParentSpace(parent.architecture, task, sizes=(64, 96), within=True)
    supernet = Supernet(definition(space, 2), nc=2)
    Beginning(parent, list(corners(space)))(supernet, NAMES)
    return space, supernet.eval()


@pytest.fixture(scope="module", params=["detect", "segment", "classify"])
def begun(request):
    parent = parent_of(request.param)
    return request.param, parent, *filled(parent, request.param)


def test_a_network_begins_with_what_it_would_take_from_the_parent_alone(begun):
    task, parent, space, supernet = begun
    rng = random.Random(0)
    for point in (space.origin, *(space.sample(rng) for _ in range(5))):
        network = space.architecture(point)
        alone = unset(network, Task(2, task))
        transfer(alone, network, parent, NAMES)
        shared = extract(supernet, network, NAMES).state_dict()
        for name, value in alone.state_dict().items():
            assert torch.equal(value, shared[name]), (network.key, name)


def test_what_is_extracted_computes_what_is_active(begun):
    _, _, space, supernet = begun
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for seed in range(3):
        network = space.architecture(space.sample(random.Random(seed)))
        model = extract(supernet, network, NAMES).eval()
        supernet.eval().activate(network)
        with torch.no_grad():
            mine, theirs = supernet(images), model(images)
        for a, b in zip(_tensors(mine), _tensors(theirs), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_the_parent_is_at_no_distance_from_itself(begun):
    task, _, space, supernet = begun
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    model = extract(supernet, space.architecture(space.origin), NAMES)
    supernet.eval()
    if task == "classify":
        guide = ClassGuidance(model, 1.0)
        supernet.activate(space.architecture(space.origin))
        logits = supernet.train()(images)
        found = guide(images)(logits, supernet)
        assert found > 0  # a cross-entropy: that of the teacher's own probabilities at the least
        return
    guide = Guidance(Teacher(model), Gains(), 1.0)(images)
    supernet.activate(space.architecture(space.origin))
    with torch.no_grad():
        assert guide(supernet(images), supernet).item() == pytest.approx(0, abs=1e-5)
        supernet.activate(space.architecture(space.sample(random.Random(3))))
        assert guide(supernet(images), supernet).item() > 1e-4


def _tensors(value):
    if isinstance(value, torch.Tensor):
        return [value]
    values = value.values() if isinstance(value, dict) else value
    return [tensor for one in values for tensor in _tensors(one)]
