"""The random baseline: a sentence on what chance finds."""

from yolo_nas_ext import ChoiceSpace, search
from yolo_nas_ext.pipeline.random_baseline import difference
from yolo_nas_ext.study.study import Study

SPACE = ChoiceSpace({f"l{i}": (0, 1, 2) for i in range(6)})


def worth(point):
    return {"fitness": sum(point.values()) / 12}


def test_the_difference_of_one_search_each_may_be_chance():
    better = search(SPACE, worth, strategy="bayes", trials=20, seed=1)
    chance = search(SPACE, worth, strategy="random", trials=20, seed=2)
    gain = better.best.fitness - chance.best.fitness
    text = difference(better, chance, "random")
    assert f"proposals is {gain:+.4f}" in text and "random search" in text
    assert "may be chance, which searches with other seeds tell" in text


def test_nothing_to_compare():
    empty = Study(SPACE)
    assert "no complete trial" in difference(empty, empty, "random")
