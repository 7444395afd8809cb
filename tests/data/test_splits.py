import random
from collections import Counter

import pytest

from yolo_nas_ext.data.splits import folds, hold_out, subset
from yolo_nas_ext.errors import NASError


def draw(n, rng):
    weights = [8, 4, 2, 1, 0.2]
    return [frozenset(rng.choices(range(5), weights, k=rng.randint(0, 3))) for _ in range(n)]


def test_sides_are_disjoint_complete_and_of_the_asked_size():
    rng = random.Random(0)
    for trial in range(100):
        classes = draw(rng.randint(5, 120), rng)
        train, held = hold_out(classes, fraction=0.25, seed=trial)
        assert sorted([*train, *held]) == list(range(len(classes))) and train and held
        assert abs(len(held) - 0.25 * len(classes)) <= 2


def test_every_class_that_can_be_is_on_both_sides():
    rng = random.Random(1)
    for trial in range(50):
        classes = draw(100, rng)
        train, held = hold_out(classes, fraction=0.3, seed=trial)
        count = Counter(c for image in classes for c in image)
        for c, n in count.items():
            if n >= 2:
                sides = [any(c in classes[i] for i in side) for side in (train, held)]
                assert sides[0], "no class is taken from training altogether"
                assert sides[1]


def test_frequencies_are_kept():
    rng = random.Random(2)
    classes = draw(2000, rng)
    _, held = hold_out(classes, fraction=0.2)
    whole = Counter(c for image in classes for c in image)
    part = Counter(c for i in held for c in classes[i])
    for c in whole:
        assert part[c] / whole[c] == pytest.approx(0.2, abs=0.06)


def test_images_without_objects_are_shared_out_too():
    classes = [frozenset({0})] * 80 + [frozenset()] * 20
    _, held = hold_out(classes, fraction=0.2)
    assert Counter(bool(classes[i]) for i in held) == {True: 16, False: 4}


@pytest.mark.parametrize("fraction", [0, 1, -0.5, float("nan")])
def test_a_fraction_that_leaves_a_side_empty(fraction):
    with pytest.raises(NASError, match="above 0 and below 1"):
        hold_out([{0}] * 5, fraction=fraction)


def test_a_group_for_each_image():
    with pytest.raises(NASError, match="2 groups for 3 images"):
        hold_out([{0}] * 3, groups=["a", "b"])


def test_groups_are_never_split():
    rng = random.Random(3)
    for trial in range(200):
        classes = draw(60, rng)
        groups = [rng.randint(0, 12) for _ in classes]
        train, held = hold_out(classes, fraction=0.3, seed=trial, groups=groups)
        assert not {groups[i] for i in train} & {groups[i] for i in held}
        assert train and held


def test_reproducible_and_different_by_seed():
    classes = draw(100, random.Random(4))
    assert hold_out(classes, seed=1) == hold_out(classes, seed=1) != hold_out(classes, seed=2)


def test_subset_has_the_size_and_every_class():
    classes = draw(300, random.Random(5))
    chosen = subset(classes, 60)
    assert len(chosen) == len(set(chosen)) == 60
    assert {c for i in chosen for c in classes[i]} == {c for image in classes for c in image}
    assert subset(classes, 300) == list(range(300))


@pytest.mark.parametrize("classes", [[], [{0}]])
def test_too_few_images(classes):
    with pytest.raises(NASError, match="at least 2"):
        hold_out(classes)


def test_one_group_cannot_be_split():
    with pytest.raises(NASError, match="1 group"):
        hold_out([{0}] * 5, groups=["patient"] * 5)


def test_impossible_subset():
    with pytest.raises(NASError, match="give 1 to 3"):
        subset([{0}] * 3, 4)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_folds_are_each_image_once_and_alike(n):
    rng = random.Random(0)
    classes = [[rng.choice((0, 0, 0, 1))] for _ in range(60)]
    parts = folds(classes, n, seed=1)
    assert sorted(i for part in parts for i in part) == list(range(60))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    rare = [sum(classes[i] == [1] for i in part) for part in parts]
    assert max(rare) - min(rare) <= 2 and parts != folds(classes, n, seed=2)


def test_folds_keep_groups_together():
    groups = [index // 4 for index in range(40)]
    parts = folds([[0]] * 40, 3, groups=groups)
    owners = [{groups[i] for i in part} for part in parts]
    assert all(a.isdisjoint(b) for i, a in enumerate(owners) for b in owners[i + 1 :])
    with pytest.raises(NASError, match="folds=11: the training part has 10 groups"):
        folds([[0]] * 40, 11, groups=groups)
