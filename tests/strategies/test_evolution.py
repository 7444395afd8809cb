import random

import pytest

from tests.helpers.tables import SPACE, median_ranks
from yolo_nas_ext.strategies.evolution import Evolution
from yolo_nas_ext.study.trial import Trial


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


@pytest.mark.parametrize("strategy", ["evolution", "local", "nsga2", "reinforce"])
def test_beats_random_search_on_a_table_with_a_known_optimum(strategy):
    """Median rank of the best after 120 evaluations, over 15 seeds."""
    found = median_ranks(strategy, trials=120, seeds=15)
    assert found < median_ranks("random", trials=120, seeds=15) / 2
