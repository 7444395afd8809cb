"""Convolutions fitted to others: against least squares written out, and exact cases."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from yolo_nas_ext.host.transfer.regression import Pair, fit

EVERY = torch.arange(6)


class Chain(nn.Module):
    """Convolutions in a row, as a model of Ultralytics holds its layers; the head is the last."""

    def __init__(self, *layers):
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, x):
        return self.model(x)


@pytest.fixture(autouse=True)
def hardly_any_ridge(monkeypatch):
    monkeypatch.setattr("yolo_nas_ext.host.transfer.regression.RIDGE", 1e-9)
    monkeypatch.setattr("yolo_nas_ext.host.transfer.regression.RIDGES", (1e-9,))


def images(n=4, channels=3, side=16):
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(1))


def conv(inputs, outputs, kernel=3, **more):
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **more)


@torch.no_grad()
def test_a_convolution_of_fewer_inputs_is_that_of_least_squares():
    torch.manual_seed(0)
    source = Chain(conv(3, 4, 1, bias=False), conv(4, 6, 3, bias=False))
    mine = Chain(conv(3, 2, 1, bias=False), conv(2, 6, 3, bias=False))
    mine.model[0].weight.copy_(source.model[0].weight[:2])
    seen = images()
    pairs = [Pair("model.0", "model.0", (torch.arange(2), torch.arange(2)))]
    pairs.append(Pair("model.1", "model.1", (EVERY, EVERY)))
    assert fit(mine, source, pairs, seen) == 1  # the first is as the source's
    inputs = nn.functional.unfold(mine.model[0](seen), 3, padding=1).transpose(0, 1).flatten(1)
    wanted = source(seen).transpose(0, 1).flatten(1)
    inputs, wanted = (v - v.mean(1, keepdim=True) for v in (inputs, wanted))
    best = torch.linalg.lstsq(inputs.T, wanted.T).solution.T
    assert torch.allclose(mine.model[1].weight.flatten(1), best, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("stride", [1, 2])
def test_what_the_others_say_is_made_up_for_wholly(stride):
    """The third and fourth channels are sums of the first two, so nothing is lost."""
    torch.manual_seed(0)
    source = Chain(conv(3, 4, 1, bias=False), conv(4, 6, 3, stride=stride, bias=True))
    first = source.model[0].weight
    first[2], first[3] = first[0] + first[1], first[0] - 2 * first[1]
    mine = Chain(conv(3, 2, 1, bias=False), conv(2, 6, 3, stride=stride, bias=True))
    mine.model[0].weight.copy_(first[:2])
    mine.model[1].weight.copy_(source.model[1].weight[:, :2])
    pairs = [Pair("model.1", "model.1", (EVERY, EVERY))]
    fit(mine, source, pairs, images())
    new = images(2, side=8)
    assert torch.allclose(mine(new), source(new), atol=1e-3)


@torch.no_grad()
def test_a_depthwise_convolution_is_fitted_channel_by_channel():
    torch.manual_seed(0)
    source = Chain(conv(6, 6, 3, groups=6, bias=False))
    mine = Chain(conv(6, 6, 5, groups=6, bias=False))
    fit(mine, source, [Pair("model.0", "model.0", (EVERY, EVERY))], images(8, 6))
    middle = mine.model[0].weight[..., 1:4, 1:4]
    assert torch.allclose(middle, source.model[0].weight, atol=1e-3)


@torch.no_grad()
def test_the_ridge_is_that_which_foretells_other_images(monkeypatch):
    """Of few images with more inputs than pixels, no ridge at all would fit noise."""
    torch.manual_seed(0)
    source = Chain(conv(32, 6, 3, bias=False))
    errors = []
    for ridges in ((1e-9, 0.3), (1e-9,)):
        monkeypatch.setattr("yolo_nas_ext.host.transfer.regression.RIDGES", ridges)
        mine = Chain(conv(32, 6, 3, bias=False))
        mine.model[0].weight.copy_(source.model[0].weight)
        mine.model[0].weight[:, 16:] = 0  # as if half of the inputs were gone
        seen = images(4, 32, 6)
        fit(mine, source, [Pair("model.0", "model.0", (EVERY, EVERY))], seen.clone())
        new = images(64, 32, 8)
        errors.append(float((mine(new) - source(new)).pow(2).mean()))
    assert errors[0] < 0.9 * errors[1]


@torch.no_grad()
def test_norms_have_the_statistics_of_what_they_see_and_the_rest_is_as_it_was():
    torch.manual_seed(0)
    model = Chain(conv(3, 6, bias=False), nn.BatchNorm2d(6), conv(6, 6)).train()
    source = deepcopy(model).eval()
    before = {name: value.clone() for name, value in source.state_dict().items()}
    assert fit(model, source, [], images()) == 0
    seen = model.model[0](images())
    assert torch.allclose(model.model[1].running_mean, seen.mean((0, 2, 3)), atol=1e-6)
    assert torch.allclose(model.model[1].running_var, seen.var((0, 2, 3)), atol=1e-5)
    assert all(module.training for module in model.modules())
    assert not any(module.training for module in source.modules())
    assert all(source.state_dict()[name].equal(value) for name, value in before.items())
    hooks = [
        m._forward_hooks or m._forward_pre_hooks for m in (*model.modules(), *source.modules())
    ]
    assert not any(hooks)


@torch.no_grad()
def test_the_same_part_at_another_level_is_not_fitted():
    torch.manual_seed(0)
    source = Chain(conv(3, 6, 3, stride=2), conv(6, 6, 1))
    mine = Chain(conv(3, 6, 3, stride=1), conv(6, 6, 1))
    before = mine.model[1].weight.clone()
    assert fit(mine, source, [Pair("model.1", "model.1", (EVERY, EVERY))], images()) == 0
    assert mine.model[1].weight.equal(before)


@torch.no_grad()
def test_a_norm_like_its_counterpart_keeps_what_that_learned():
    """The same convolution sees the same, so that statistics of a long training stay."""
    torch.manual_seed(0)
    layer = nn.Sequential()
    layer.add_module("conv", conv(3, 6, bias=False))
    layer.add_module("bn", nn.BatchNorm2d(6))
    source = Chain(layer, conv(6, 6))
    layer.bn.running_mean.normal_()
    layer.bn.running_var.uniform_(0.5, 2)
    mine = deepcopy(source)
    mine.model[0].bn.reset_running_stats()
    fit(mine, source, [Pair("model.0.conv", "model.0.conv", (EVERY, EVERY))], images())
    for name in ("running_mean", "running_var"):
        known = getattr(layer.bn, name)
        assert torch.allclose(getattr(mine.model[0].bn, name), known, atol=1e-5)
