import random

import pytest
import torch

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.weight_sharing import check_relaxation
from yolo_nas_ext.host.supernet.arch_parameters import Distribution
from yolo_nas_ext.host.supernet.continuous import WINDOW, dominant, rising
from yolo_nas_ext.host.supernet.model import Supernet
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.space.supernet.distribution import cover, matters
from yolo_nas_ext.space.supernet.slots import definition, path


@pytest.fixture(scope="module")
def tiny():
    return DetectorSpace.load("tiny", fix={"neck.width": 32, "neck.growth": 1})


def test_the_dominant_eigenvalue_is_that_of_the_matrix():
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(6, 6, generator=generator))[0]
    for values in ([5.0, 1.0, 0.5, 0.2, -0.3, 0.0], [0.5, 1.0, -4.0, 0.2, 0.3, 0.0]):
        hessian = basis @ torch.diag(torch.tensor(values)) @ basis.T
        start = torch.randn(6, generator=generator)
        found = dominant(lambda x, h=hessian: h @ x + 3.0, start, iterations=20)
        assert found == pytest.approx(max(values, key=abs), rel=1e-3)
    assert dominant(lambda x: torch.ones(6), torch.ones(6)) == 0.0  # a plane


def test_an_eigenvalue_that_rises_ends_the_search():
    assert not rising([1.0] * (2 * WINDOW))
    assert not rising([1.0] * WINDOW + [1.3] * WINDOW) and not rising([1.0, 9.0])
    assert rising([5.0] * 3 + [1.0] * WINDOW + [1.4] * WINDOW)
    assert rising([-1.0] * WINDOW + [-1.4] * WINDOW)


def test_points_that_cover_a_space_have_every_option(tiny):
    rng, bound = random.Random(0), {"p2.width": 16, "p3.width": 48, "p4.width": 64, "p5.width": 96}
    narrow = DetectorSpace.load("tiny", fix={**bound, "p5.block": "c2f", "levels": "3-5"})
    for space in [tiny] * 10 + [narrow] * 10:
        points = cover(space, {}, rng)
        assert len(points) == 4  # p4.block has so many
        assert len({point["levels"] for point in points}) == 1
        assert all(map(space.feasible, points))
        if space is narrow:  # no rule binds
            for name in ("p4.block", "p3.block", "p2.block", "stem.width", "context"):
                assert {point[name] for point in points} == set(space.choices[name])


def test_choices_that_matter(tiny):
    point = tiny.canonical({**tiny.sample(random.Random(0)), "p3.block": "c2f", "levels": "3-4"})
    of = matters(tiny, point)
    assert "p3.kernel" not in of and "p5.width" not in of
    assert {"p3.block", "p3.width", "levels", "p4.block"} <= of
    assert "p3.kernel" in matters(tiny, tiny.canonical({**point, "p3.block": "k1kx"}))


def test_shares_are_the_softmax_of_what_differs_and_matters():
    found = Distribution({"a": (1, 2, 3), "k": (3, 5)})
    found.logits["a"].data[:] = torch.tensor([0.2, 1.0, -1.0])
    points = [{"a": 1, "k": 3}, {"a": 2, "k": 5}, {"a": 1, "k": 3}]
    every, no_k = frozenset("ak"), frozenset("a")
    assert found.shares(["k"], [points[0], points[2]], [every, every], 1.0) is None
    shares = found.shares(["a", "k"], points, [no_k, every, no_k], 2.0)
    assert shares[2] is None  # is there already
    assert torch.allclose(torch.stack(shares[:2]), torch.tensor([0.1, 0.5]).softmax(0))
    shares[1].backward()
    assert found.logits["a"].grad[1] > 0 > found.logits["a"].grad[0]


@pytest.mark.parametrize(
    "task,yolo26", [("detect", False), ("segment", False), ("segment", True), ("classify", False)]
)
def test_a_mixture_is_the_network_that_has_all_of_the_weight(task, yolo26):
    space = DetectorSpace.load("tiny", task, yolo26=yolo26)
    net = Supernet(definition(space, 2), nc=2).train()
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    networks = [space.architecture(point) for point in cover(space, {}, random.Random(1))]
    if task != "classify":  # they differ in what the head reads, and in which head it is
        assert len({n.neck.down[-1].width for n in networks}) > 1
        assert len({path(n).legacy for n in networks}) > 1
    for which, network in enumerate(networks):
        shares = [float(which == index) for index in range(len(networks))]
        with torch.no_grad():
            with net.mixed(networks, lambda slot, shares=shares: shares):
                mixed = outputs(net(image))
            net.activate(network)
            for name, alone in outputs(net(image)).items():
                assert torch.allclose(mixed[name], alone, atol=1e-4), name


def outputs(preds):
    found = dict(preds) if isinstance(preds, dict) else {"classes": preds}
    if isinstance(found.get("proto"), tuple):
        found["proto"], found["pixels"] = found["proto"]
    return {name: value for name, value in found.items() if name != "feats"}


def test_a_wider_neck_is_seen_by_the_loss_of_a_narrow_networks_mixture():
    """Its channels beyond the narrow one's are read by a head of its own."""
    space = DetectorSpace.load("tiny")
    point = space.canonical({**space.sample(random.Random(2)), "neck.width": 32})
    points = [point, space.canonical({**point, "neck.width": 64})]
    networks = [space.architecture(p) for p in points]
    net = Supernet(definition(space, 2), nc=2).train()
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    first, second = (torch.tensor(0.5, requires_grad=True) for _ in range(2))
    with net.mixed(networks, lambda slot: (first, second) if slot == "head.width" else (0.5, 0.5)):
        net(image)["scores"].square().sum().backward()
    assert second.grad.abs() > 0
    unit = net.head.units["new|3|class|one-to-many|1"]
    if net.head.active[2]:
        unit = net.head.units["old|3|class|one-to-many|0"]
    assert unit.conv.weight.grad[:, 32:].abs().sum() > 0


def test_channels_that_are_not_mixed_are_the_first_networks(tiny):
    net = Supernet(definition(tiny, 2), nc=2).train()
    networks = [tiny.architecture(point) for point in cover(tiny, {}, random.Random(1))]
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    equal = [1 / len(networks)] * len(networks)

    def scores(channels):
        with torch.no_grad(), net.mixed(networks, lambda slot: equal, channels):
            return net(image)["scores"]

    nothing = scores(lambda channels: torch.zeros(channels, 1, 1))
    net.active = None
    net.activate(networks[0])
    with torch.no_grad():
        assert torch.allclose(nothing, net(image)["scores"], atol=1e-5)
    everything = scores(lambda channels: torch.ones(channels, 1, 1))
    assert torch.allclose(everything, scores(None), atol=1e-5)
    assert not torch.allclose(everything, nothing, atol=1e-3)


def test_a_space_with_many_options_is_refused():
    damo = DetectorSpace.load("damo", fix={"head.reg_max": 16})
    with pytest.raises(NASError, match=r"relaxation=continuous: \S+ has \d+ options.*at most 6"):
        check_relaxation("continuous", True, damo)
