"""The vectorized search finds optima, keeps its limits, and is the same everywhere."""

import json
import random
import subprocess
import sys

import pytest

from tests.helpers.devices import made_up
from yolo_nas_ext.cost.budget import Budget
from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.zero_cost.entropy import deepmad, madnas
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.space.parse import parse
from yolo_nas_ext.vectorized.evolution import Check, evolve

SMALL = {
    "stem": {"width": [8, 16]},
    "stages": {
        f"p{level}": {"block": ["k1kx", "c2f"], "width": [16, 32, 48], "depth": [1, 2]}
        for level in (2, 3, 4)
    },
    "levels": "3-4",
    "neck": {"block": "c3k2", "width": 32},
    "rules": {"nondecreasing": ["width"]},
}


def small(**limits):
    profile = made_up(128, 60) if "max_latency" in limits else None
    budget = Budget(limits, 3, 128, profile=profile)
    return DetectorSpace(parse(SMALL, "small", "small")).within(budget), budget


@pytest.mark.parametrize("score", [madnas, deepmad])
@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"max_flops": 9e7, "max_layers": 9},
        {"max_params": 3e5, "max_memory": 1e6},
        {"max_latency": 3.9},
    ],
)
def test_it_finds_the_optimum_of_a_space_that_can_be_listed(score, limits):
    space, budget = small(**limits)
    every = [space.architecture(point) for point in space.enumerate()]
    best = max(score(architecture, 128) for architecture in every)
    found = evolve(space, budget, score=score.__name__, trials=20_000, population=64, seed=1)
    assert found.population[0].score == pytest.approx(best, rel=1e-12)
    assert 20 < len(every) and found.counts["evaluated"] == 20_000
    for point, architecture, value in found.population:
        assert space.feasible(point) and space.architecture(point) == architecture
        assert value == score(architecture, 128)
    scores = [member.score for member in found.population]
    assert scores == sorted(scores, reverse=True)
    assert len({member.architecture for member in found.population}) == len(scores)


def test_history_and_counts():
    space, budget = small(max_flops=9e7, max_layers=9)
    found = evolve(space, budget, trials=3000, population=32, seed=2)
    bests = [best for _, best in found.history]
    assert bests == sorted(set(bests)) and found.history[-1][0] <= 3000
    counts = found.counts
    assert counts["against_rules"] > 0 and counts["over_max_flops"] > 0
    assert counts["evaluated"] == 3000 >= counts["within"] > 0
    assert counts["evaluated"] <= (
        counts["within"] + counts["over_max_flops"] + counts["over_max_layers"]
    )


@pytest.mark.parametrize("trials", [1, 14, 700])
def test_any_number_of_trials(trials):
    space, budget = small()
    found = evolve(space, budget, trials=trials, seed=0)
    assert found.counts["evaluated"] == trials and 0 < len(found.population) <= min(trials, 512)


def test_seeds_take_part_and_a_further_check_holds():
    space, budget = small()
    best = max(space.enumerate(), key=lambda p: madnas(space.architecture(p)))
    found = evolve(space, budget, trials=65, seed=0, seeds=[best])
    assert found.population[0].point == best
    slow = Check("latency", lambda a: sum(block.depth for block in a.backbone), 8)
    found = evolve(space, budget, trials=3000, seed=0, checks=[slow])
    assert found.counts["over_latency"] > 0
    assert all(slow.value(m.architecture) <= 8 for m in found.population)
    never = Check("latency", lambda a: 2.0, 1.0)
    with pytest.raises(NASError, match="none of 100 networks drawn is within latency=1"):
        evolve(space, budget, trials=100, seed=0, checks=[never])


def test_nothing_fits():
    space, budget = small(max_flops=1e6)
    with pytest.raises(NASError, match="nothing in the space fits max_flops"):
        evolve(space, budget, trials=100)


def test_a_space_of_one_point_ends():
    content = {
        **SMALL,
        "stem": {"width": 8},
        "stages": {f"p{level}": {"block": "k1kx", "width": 16} for level in (2, 3, 4)},
    }
    space = DetectorSpace(parse(content, "one", "one"))
    found = evolve(space, Budget({}, 3, 128), trials=1000)
    assert len(found.population) == 1 and found.counts["evaluated"] < 1000


def test_an_interrupt_keeps_what_was_found():
    def stop(evaluated, best):
        if evaluated > 2000:
            raise KeyboardInterrupt

    space, budget = small()
    found = evolve(space, budget, trials=10**9, progress=stop)
    assert found.interrupted and found.population and found.counts["evaluated"] < 10_000


@pytest.mark.slow
def test_the_same_seed_the_same_population_in_another_process():
    code = (
        "import json; from yolo_nas_ext.cost.budget import Budget\n"
        "from yolo_nas_ext.vectorized.evolution import evolve\n"
        "from yolo_nas_ext.space.detector import DetectorSpace\n"
        "budget = Budget({'max_flops': 5e9}, 3, 320)\n"
        "space = DetectorSpace.load('damo').within(budget)\n"
        "found = evolve(space, budget, trials=5000, population=100, seed=3)\n"
        "print(json.dumps([[m.architecture.key, m.score] for m in found.population]))"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**__import__("os").environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1] and len(json.loads(runs[0])) == 100


LIMITS = {"max_params": 1e6, "max_flops": 2.5e8, "max_memory": 9e5, "max_layers": 15}


@pytest.mark.parametrize("name", [pytest.param("yolo", marks=pytest.mark.slow), "tiny"])
def test_the_final_population_is_within_the_exact_budget(name):
    budget = Budget(LIMITS, 3, 128)
    space = DetectorSpace.load(name).within(budget)
    found = evolve(space, budget, trials=4000, population=64, seed=0)
    for member in found.population:
        cost = costs(member.architecture, 3, 128)
        assert all(getattr(cost, n.removeprefix("max_")) <= b for n, b in LIMITS.items())
    rng = random.Random(0)
    drawn = [madnas(space.architecture(space.sample(rng))) for _ in range(50)]
    assert found.population[0].score > max(drawn)
