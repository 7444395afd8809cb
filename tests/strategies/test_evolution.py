import itertools
import random

from yolo_nas_ext.loop import search
from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.strategies.evolution import Evolution
from yolo_nas_ext.study import Trial

SPACE = ChoiceSpace({f"l{i}": ("id", "k3", "k5") for i in range(8)})
_rng = random.Random(0)
# Additive with noise: a known optimum, and better near the better.
TABLE = {
    values: sum((v == "k5") * (i + 1) for i, v in enumerate(values)) / 36 + 0.2 * _rng.random()
    for values in itertools.product(*SPACE.choices.values())
}


def test_children_differ_from_a_living_parent_by_one_mutation():
    rng = random.Random(1)
    history = [
        Trial(i, SPACE.sample(rng), state="complete", metrics={"fitness": rng.random()})
        for i in range(40)
    ]
    living = history[-10:]
    for seed in range(50):
        (child,) = Evolution(SPACE, population=10).propose(history, 1, random.Random(seed))
        assert any(sum(child[n] != t.point[n] for n in child) == 1 for t in living)


def test_the_best_of_the_sample_has_the_child():
    rng = random.Random(1)
    history = [
        Trial(i, SPACE.sample(rng), state="complete", metrics={"fitness": float(i)})
        for i in range(10)
    ]
    (child,) = Evolution(SPACE, population=10, sample=10).propose(history, 1, rng)
    assert sum(child[n] != history[-1].point[n] for n in child) == 1


def test_beats_random_search_on_a_table_with_a_known_optimum():
    """Median rank of the best after 60 evaluations, over 15 seeds."""
    ranks = {}
    for strategy in ("random", "evolution"):
        ranks[strategy] = []
        for seed in range(15):
            study = search(
                SPACE, lambda p: {"fitness": TABLE[tuple(p.values())]}, strategy=strategy,
                trials=60, seed=seed,
            )  # fmt: skip
            best = study.best.metrics["fitness"]
            ranks[strategy].append(sum(value > best for value in TABLE.values()) + 1)
    median = {name: sorted(r)[7] for name, r in ranks.items()}
    assert median["evolution"] < median["random"] / 2
