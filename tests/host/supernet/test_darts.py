import json
import random

import pytest
import torch

from tests.helpers.shapes import draw
from yolo_nas_ext.estimators.base import Context
from yolo_nas_ext.estimators.weight_sharing import LEARNED, SharedWeights
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.host.supernet.arch_parameters import ENTROPY, Distribution
from yolo_nas_ext.host.supernet.model import Supernet, extract
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.space.supernet.distribution import (
    choices_of,
    draw_values,
    entropy,
    names_for,
    partner,
)
from yolo_nas_ext.space.supernet.slots import definition

SEEDS = range(6)
OPTIONS = ("zero", "sine", "square", "line")
PLACES = {"first": OPTIONS, "second": OPTIONS}


def compute(option, x):
    return {"zero": 0 * x, "sine": torch.sin(3 * x), "square": x * x - 1, "line": 0.5 * x}[option]


def search(seed, shuffled=False, truth="sine", steps=200):
    """A search in a toy: the sum of two places, whose options are scaled functions of a number."""
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    found = Distribution(PLACES)
    scales = {
        (place, option): torch.ones((), requires_grad=True)
        for place in PLACES
        for option in OPTIONS
    }
    optimizer = torch.optim.Adam(list(scales.values()), lr=0.02)

    def run(x, pick):
        return sum(pick(place, x[:, i]) for i, place in enumerate(PLACES))

    def option(place, x, point):
        return scales[place, point[place]] * compute(point[place], x)

    def loss_of(x, y, pick):
        return (run(x, pick) - y).square().mean()

    for step in range(steps):
        x = torch.randn(64, 2, generator=generator)
        y = run(x, lambda place, x: compute(truth, x))
        if shuffled:
            y = y[torch.randperm(64, generator=generator)]
        known = found.probabilities()
        one = {n: rng.choices(OPTIONS, ps)[0] for n, ps in known.items()}
        optimizer.zero_grad()
        loss_of(x, y, lambda place, x, one=one: option(place, x, one)).backward()
        optimizer.step()
        other = {name: rng.choice(OPTIONS) for name in one}

        def mixed(place, x, one=one, other=other):
            gates = found.gates([place], one, other, 1.0)
            if gates is None:
                return option(place, x, one)
            return gates[0] * option(place, x, one) + gates[1] * option(place, x, other)

        ramp = ENTROPY * (step + 1) / steps
        found.step(loss_of(x, y, mixed) + ramp * found.uncertainty())
    return found.probabilities()


def test_a_planted_truth_is_found():
    likeliest = [[OPTIONS[ps.index(max(ps))] for ps in search(seed).values()] for seed in SEEDS]
    assert sum(found == ["sine", "sine"] for found in likeliest) >= len(SEEDS) - 1, likeliest


def test_an_option_of_zeros_is_rejected():
    for seed in range(2):
        for zero, best, *_ in search(seed, steps=900).values():
            assert zero < 0.125 and best > 0.6  # half of the uniform 0.25, and most of the rest


def test_shuffled_labels_leave_the_distribution_near_uniform():
    for seed in SEEDS:
        kept = entropy(search(seed, shuffled=True))
        assert min(kept.values()) > 0.9, kept


def test_gates_have_the_values_of_one_network_and_the_gradients_of_two():
    found = Distribution({"a": (1, 2, 3), "b": ("x", "y")})
    one, other = {"a": 1, "b": "x"}, {"a": 3, "b": "x"}
    assert found.gates(["b"], one, other, 1.0) is None
    first, second = found.gates(["a", "b"], one, other, 1.0)
    assert (first.item(), second.item()) == (1.0, 0.0)
    (10 * second - 2 * first).backward()
    grad = found.logits["a"].grad
    assert grad[1] == 0 and grad[0] < 0 < grad[2]  # a step downhill leads away from 3
    assert torch.isclose(grad[2], torch.tensor(12 * 0.25))


def test_networks_that_are_compared_give_the_gradient_of_the_expected_score():
    found = Distribution({"a": (1, 2, 3), "b": ("x", "y")})
    found.logits["a"].data[:] = torch.tensor([0.3, -0.5, 0.1])
    points = [{"a": a, "b": b} for a in (1, 2, 3) for b in ("x", "y")]
    scores = [0.1, 0.7, 0.2, 0.9, 0.4, 0.0]
    logits = list(found.logits.values())

    def chance(point):
        return sum(found.log_chance(name, point[name]) for name in point).exp()

    expected = sum(chance(p) * score for p, score in zip(points, scores, strict=True))
    exact = torch.autograd.grad(-expected, logits)
    pairs = [(i, j) for i in range(6) for j in range(6)]  # of two drawn, every outcome
    mean = [torch.zeros_like(grad) for grad in exact]
    for i, j in pairs:
        term = found.away_from_worse([points[i], points[j]], [scores[i], scores[j]])
        share = float((chance(points[i]) * chance(points[j])).detach())
        for total, grad in zip(mean, torch.autograd.grad(term, logits), strict=True):
            total += share * grad
    for mine, theirs in zip(mean, exact, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)


@pytest.mark.parametrize("end2end", [pytest.param(False, marks=pytest.mark.slow), True])
def test_predictions_in_training_are_decoded_as_ultralytics_decodes_them(tiny, end2end):
    fixed = {"head.reg_max": 16, "head.end2end": True}
    space = DetectorSpace.load("yolo", fix=fixed) if end2end else tiny
    net = Supernet(definition(space, 2), nc=2).eval()
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    network = space.architecture(space.sample(random.Random(0)))
    net.activate(network)
    stock = extract(net, network, {0: "a", 1: "b"}).eval()
    stock.end2end = end2end
    with torch.no_grad():
        before, preds = net(image)
        assert torch.allclose(net.head.decoded(preds), stock(image)[0], atol=1e-4)
        assert torch.equal(net(image)[0], before)  # which goes on as it was


def test_what_is_drawn_of_choices_that_do_not_matter_is_told_too(tiny):
    rng, seen = random.Random(0), set()
    for _ in range(60):
        values, point = draw_values(tiny, {}, rng)
        assert point == tiny.canonical(values)
        if point["p3.block"] == "c2f":  # which has one kernel
            assert point["p3.kernel"] == 3
            seen.add(values["p3.kernel"])
    assert seen == {3, 5}


def test_a_gradient_of_the_weights_is_not_touched():
    found = Distribution({"a": (1, 2)})
    weight = torch.ones((), requires_grad=True)
    first, second = found.gates(["a"], {"a": 1}, {"a": 2}, 1.0)
    found.step(weight * (first + 3 * second))
    assert weight.grad is None and found.probabilities()["a"][0] > 0.5


def test_a_state_is_restored():
    first, second = (Distribution({"a": (1, 2, 3)}) for _ in range(2))
    for found in (first, first, second):
        if found is second:
            found.restore(first.state())
        found.step(found.log_chance("a", 2) + 0.5 * found.log_chance("a", 1))
    first.step(first.log_chance("a", 2) + 0.5 * first.log_chance("a", 1))
    assert first.probabilities() == second.probabilities()


@pytest.fixture(scope="module")
def tiny():
    return DetectorSpace.load("tiny")


def test_a_mixture_is_the_first_network(tiny):
    net = Supernet(definition(tiny, 2), nc=2).train()
    found, rng = Distribution(tiny.choices), random.Random(0)
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for _ in range(8):
        one = tiny.sample(rng)
        other = partner(tiny, one, tiny.sample(rng))
        first, second = map(tiny.architecture, (one, other))
        of = choices_of(tiny, one)
        with net.mixed(
            [first, second],
            lambda s, a=one, b=other, of=of: found.gates(names_for(s, of), a, b, 1.0),
        ):
            mixed = net(image)
        grads = torch.autograd.grad(
            mixed["scores"].square().sum(), list(found.logits.values()), allow_unused=True
        )
        net.activate(first)
        assert torch.allclose(mixed["scores"], net(image)["scores"], atol=1e-5)
        differing = {n for n in found.logits if one[n] != other[n]}
        moved = {
            n
            for n, grad in zip(found.logits, grads, strict=True)
            if grad is not None and grad.abs().sum() > 0
        }
        assert moved <= differing and len(moved) >= len(differing) // 2


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


class Killed(Exception):
    pass


@pytest.mark.parametrize(
    "relaxation",
    ["single", *(pytest.param(r, marks=pytest.mark.slow) for r in ("gates", "continuous"))],
)
def test_a_search_learns_records_and_goes_on_after_a_kill(tmp_path, relaxation):
    data, small = read(draw(tmp_path / "shapes")), DetectorSpace.load("tiny", fix=SMALL)

    def estimator(name, say=lambda line: None):
        made = SharedWeights(
            data,
            small,
            learn=True,
            epochs=3,
            imgsz=64,
            batch=4,
            threads=1,
            pause=0,
            overrides={"workers": 0},
            cost_weight=0.1,
            say=say,
            relaxation=relaxation,
        )
        made.use_context(Context(tmp_path / name))
        return made

    def kill(line):
        if "epoch 3" in line:
            raise Killed

    whole = estimator("whole")
    history = whole.history()
    assert [row["epoch"] for row in history] == [2, 3]
    assert json.loads((whole.folder / LEARNED).read_text()) == history
    assert whole.distribution() == history[-1]["probabilities"]
    assert any(abs(p - 1 / len(ps)) > 1e-3 for ps in whole.distribution().values() for p in ps)
    with pytest.raises(Killed):
        estimator("cut", kill).distribution()
    assert estimator("cut").history() == history
