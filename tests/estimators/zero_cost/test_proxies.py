"""Each proxy against a closed form or a toy computed by hand; all of them leave no trace."""

import math
import random
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.helpers.shapes import draw, name_as_slices
from yolo_nas_ext.config.search import PROXIES as NAMES
from yolo_nas_ext.config.search import configure
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators import factory
from yolo_nas_ext.estimators.training import ShortTraining
from yolo_nas_ext.estimators.zero_cost.proxies import PROXIES, Capture, az_nas, measure
from yolo_nas_ext.estimators.zero_cost.proxies.signals import NUDGE, gain, spread
from yolo_nas_ext.estimators.zero_cost.proxy import AzNas, Untrained, log_ranks
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.space.detector import DetectorSpace


def toy(model, images, loss=None):
    def features(m, x):
        found = []
        for row in m:
            x = row(x)
            found.append(x)
        return found

    return Capture(
        model,
        images,
        loss or (lambda m, i: m(images[list(i)]).sum()),
        lambda m, x: [m(x)],
        features,
    )


def conv(*weights, c_in=1):
    layer = nn.Conv2d(c_in, len(weights) // c_in, 1, bias=False)
    layer.weight.data = torch.tensor(weights).reshape(-1, c_in, 1, 1)
    return layer


def pixels(*values):
    return torch.tensor(values).reshape(-1, 1, 1, 1)


CHAIN = nn.Sequential(conv(2.0), nn.ReLU(), conv(-3.0))


def test_naswot_and_swap_of_patterns_written_down():
    model = nn.Sequential(conv(1.0, -1.0, 1.0), nn.SiLU())
    # image 1: units + - +, image 2: - + -, image 3: + - +
    capture = toy(model, pixels(1.0, -1.0, 2.0))
    assert measure(PROXIES["naswot"], capture) == -math.inf  # images 1 and 3 look the same
    # columns over the three images: 101, 010, 101
    assert measure(PROXIES["swap"], capture) == 2
    two = toy(model, pixels(1.0, -1.0))
    assert measure(PROXIES["naswot"], two) == pytest.approx(math.log(9))  # kernel [[3, 0], [0, 3]]


def test_snip_and_grad_norm_of_a_chain():
    capture = toy(CHAIN, pixels(1.0, 2.0))
    # loss = -3 relu(2 x) summed: gradients sum(x) * -3 and sum(relu(2 x))
    assert measure(PROXIES["snip"], capture) == pytest.approx(2 * 9 + 3 * 6)
    assert measure(PROXIES["grad_norm"], capture) == pytest.approx(9 + 6)


def test_synflow_is_layers_times_the_product_of_a_chain():
    capture = toy(CHAIN, pixels(5.0, 7.0))
    assert measure(PROXIES["synflow"], capture) == pytest.approx(math.log(2 * 2 * 3))
    normed = nn.Sequential(conv(2.0), nn.BatchNorm2d(1), nn.SiLU(), conv(-3.0), conv(4.0))
    assert measure(PROXIES["synflow"], toy(normed, pixels(1.0))) == pytest.approx(math.log(3 * 24))


def test_jacov_of_two_images_with_opposite_gradients():
    class Kink(nn.Module):
        def forward(self, x):  # gradients (1, 0) where the mean is positive, else (0, 1)
            positive = (x.sum((1, 2, 3)) > 0).float()
            return (x[:, :, 0, 0] * positive[:, None]) + x[:, :, 0, 1] * (1 - positive[:, None])

    images = torch.tensor([[1.0, 2.0], [-1.0, -2.0]]).reshape(2, 1, 1, 2)
    # correlation -1: eigenvalues 0 and 2
    k = 1e-5
    expected = -(math.log(k) + 1 / k + math.log(2 + k) + 1 / (2 + k))
    assert measure(PROXIES["jacov"], toy(Kink(), images)) == pytest.approx(expected, rel=1e-6)


def test_zico_of_two_images():
    model = nn.Sequential(conv(1.0))
    # gradients 1 and 3: mean 2, deviation 1
    capture = toy(model, pixels(1.0, 3.0))
    assert measure(PROXIES["zico"], capture) == pytest.approx(math.log(2))


def test_zen_of_one_linear_layer():
    capture = toy(nn.Sequential(conv(9.0)), torch.zeros(4, 1, 3, 3))
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn((1, 1, 1, 1), generator=generator)
    torch.randn((4, 1, 3, 3), generator=generator)
    noise = torch.randn((4, 1, 3, 3), generator=generator)
    expected = math.log(float(NUDGE * weight.abs() * noise.abs().flatten(1).sum(1).mean()))
    assert measure(PROXIES["zen"], capture) == pytest.approx(expected, abs=1e-3)


def test_az_nas_of_features_written_down():
    # two uncorrelated channels of equal variance: ln 2; of variances 9 and 1: entropy of (.9, .1)
    x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]).reshape(4, 2, 1, 1)
    assert spread(x) == pytest.approx(math.log(2))
    uneven = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    scaled = nn.Sequential(nn.Identity(), conv(3.0, 0.0, 0.0, 1.0, c_in=2))
    x.requires_grad_(True)
    found = measure(az_nas, toy(scaled, x))
    assert found["expressivity"] == pytest.approx(math.log(2) + uneven)
    assert found["progressivity"] == pytest.approx(uneven - math.log(2))
    # a row that hands gradients back as they are, on signs that are orthogonal, gains 1
    ones = torch.ones(1, 1, 1, 2, requires_grad=True)
    assert gain(ones, ones * 1.0, torch.Generator()) == pytest.approx(1)
    assert gain(ones, ones * 3.0, torch.Generator()) == pytest.approx(3)
    assert gain(ones, torch.ones(1, 1, 1, 2, requires_grad=True) * 2, torch.Generator()) is None


def test_log_ranks_of_three_networks():
    scores = [{"a": 1.0, "b": 3.0}, {"a": 2.0, "b": 1.0}, {"a": 3.0, "b": 2.0}]
    expected = [math.log(1 / 3), math.log(2 / 3) + math.log(1 / 3), math.log(2 / 3)]
    assert log_ranks(scores) == pytest.approx(expected)


def states():
    return (
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.get_rng_state().tolist(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(),
    )


def estimator(name, data, space):
    options = {"imgsz": 64, "batch": 6, "seed": 1}
    return AzNas(space, data, **options) if name == "az_nas" else Untrained(name, data, **options)


@pytest.mark.parametrize("name", NAMES)
def test_a_proxy_leaves_model_generators_and_settings_alone(name, data, space):
    made = estimator(name, data, space)
    architecture = space.architecture(space.sample(random.Random(0)))
    capture = made.capture(architecture, {})
    model = deepcopy(capture.model.state_dict())
    hooks = [len(m._forward_pre_hooks) for m in capture.model.modules()]
    before = states()
    value = measure(az_nas if name == "az_nas" else PROXIES[name], capture)
    assert states() == before
    assert all(torch.equal(v, model[n]) for n, v in capture.model.state_dict().items())
    assert all(p.grad is None for p in capture.model.parameters())
    assert [len(m._forward_pre_hooks) for m in capture.model.modules()] == hooks
    assert capture.model.training
    torch.manual_seed(123)  # nor does it depend on what ran before
    assert value == measure(az_nas if name == "az_nas" else PROXIES[name], capture)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "az_nas"])
def test_a_proxy_estimates(name, data, space):
    made, rng = estimator(name, data, space), random.Random(2)
    found = [made.estimate(space.architecture(space.sample(rng)))["fitness"] for _ in range(2)]
    assert all(map(math.isfinite, found))
    assert len(set(found)) > 1 or name == "swap"  # 2**6 patterns, each of which is there


def test_a_proxy_sees_no_picture_of_a_held_out_patient(tmp_path):
    """Pictures as `nas-data` names them: patient, scan, slice."""
    file = draw(tmp_path, train=24, val=2)
    name_as_slices(file.parent, slices=4)
    data = read(file)
    for seed in range(5):
        training = ShortTraining(data, imgsz=64, seed=seed)
        made = Untrained("naswot", data, imgsz=64, batch=24, seed=seed)
        patients = [
            {Path(data.images[i]).stem.split("_")[0] for i in part}
            for part in (made.chosen, training.split[1])
        ]
        assert not patients[0] & patients[1] and len(patients[0] | patients[1]) == 6


@pytest.fixture(scope="module")
def timm_network():
    space = DetectorSpace.load("timm", fix={"backbone": "timm/mobilenetv3_small_050"})
    return space.architecture(space.sample(random.Random(0)))


@pytest.mark.parametrize("name", NAMES)
def test_a_backbone_of_timm_has_every_proxy(name, data, space, timm_network):
    made = estimator(name, data, space)
    proxy = az_nas if name == "az_nas" else PROXIES[name]
    values = measure(proxy, made.capture(timm_network, {}))
    values = values.values() if isinstance(values, dict) else [values]
    assert all(map(math.isfinite, values))


def test_the_features_of_a_backbone_of_timm_are_those_that_its_rows_pick(data, space, timm_network):
    capture = estimator("naswot", data, space).capture(timm_network, {})
    model = capture.model.eval()
    with torch.no_grad():
        found = capture.features(model, capture.images)
        wanted = model.model[0](capture.images)
    assert [y.shape[1] for y in found] == list(timm_network.widths.values())
    assert all(a.equal(b) for a, b in zip(found, wanted, strict=True))


def test_a_task_that_has_no_proxy(data):
    with pytest.raises(NASError, match="estimator=naswot: is of task=detect, not segment"):
        Untrained("naswot", data, task="segment")


def test_az_nas_draws_from_the_space_of_the_task(data, monkeypatch):
    asked, load = [], factory.DetectorSpace.load
    monkeypatch.setattr(
        factory.DetectorSpace,
        "load",
        lambda *names, **more: asked.append(names) or load(*names, **more),
    )
    factory.make(configure({"estimator": "az_nas", "space": "tiny"}, {}, {}), data)
    assert [names[:2] for names in asked] == [("tiny", "detect")]


def test_az_nas_ranks_among_the_space(data, space, monkeypatch):
    monkeypatch.setattr("yolo_nas_ext.estimators.zero_cost.proxy.REFERENCES", 3)
    made = estimator("az_nas", data, space)
    found = made.estimate(space.architecture(space.sample(random.Random(3))))
    assert -8 < found["fitness"] <= 0 and found["az_complexity"] > 1e6
