"""The leaderboard: numbers against scipy and closed forms, sentences against what they must say."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from yolo_nas_ext.report.verdict import better, sentences
from yolo_nas_ext.study.differences import differences
from yolo_nas_ext.study.leaderboard import Evaluation, Leaderboard, Model, interval


def board(values, *, costs=None, searched=None):
    """The leaderboard of fitness by seed; names that start with `yolo` are baselines."""
    costs = costs or {}
    models = [
        Model(
            name,
            baseline=name.startswith("yolo"),
            params=1e6,
            flops=costs.get(name, 1e9),
            search_seconds=(searched or {}).get(name),
        )
        for name in values
    ]
    evaluations = [
        Evaluation(
            name,
            seed,
            math.nan if fitness is None else fitness,
            60.0,
            "nan: the loss is nan" if fitness is None else "",
        )
        for name, by_seed in values.items()
        for seed, fitness in enumerate(by_seed)
    ]
    return Leaderboard(models, evaluations, metric="mAP50-95")


def test_intervals_are_students():
    values = [0.31, 0.34, 0.29, 0.40]
    found = interval(values)
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert found == pytest.approx((np.mean(values), low, high, 4))
    assert interval([0.5]) == (0.5, -math.inf, math.inf, 1) and math.isnan(interval([]).mean)


def test_a_difference_is_of_all_trainings_and_allows_for_all_found_models():
    found = board({"a": [0.30, 0.31, 0.33], "b": [0.28, 0.30, 0.29], "yolo": [0.25, 0.27, 0.26]})
    theirs = differences({n: [*found.values(n).values()] for n in "ab"}, [0.25, 0.27, 0.26])
    assert found.difference("a", "yolo") == theirs["a"] and theirs["a"].of == 2
    between = found.difference("yolo", "a")  # no found model: nothing was chosen
    assert between.of == 1 and between.mean == pytest.approx(-theirs["a"].mean)
    missing = board({"a": [None, 0.3], "yolo": [0.1, 0.2]})
    assert missing.difference("a", "yolo").n == 1 and missing.values("a") == {1: 0.3}
    assert len(missing.failed("a")) == 1 and "1 of 4 trainings failed." in sentences(missing)
    assert sentences(missing)[1].startswith("One of them was trained once")


def test_a_found_model_that_is_better():
    found = board(
        {"a": [0.40, 0.42, 0.41], "yolo11n": [0.35, 0.36, 0.36], "yolov8n": [0.30, 0.30, 0.31]},
        costs={"a": 0.5e9, "yolo11n": 1e9, "yolov8n": 1e9},
        searched={"a": 900.0},
    )
    text = sentences(found)
    assert text[0].startswith("a is 0.0533 above yolo11n, the best baseline, in mAP50-95")
    assert "0.50 times its FLOPs" in text[0] and "chance" not in text[0]
    assert text[1].startswith("Over 3 seeds each: +0.0533, 95% interval") and "t)." in text[1]
    assert any("took 15 min, as much as 15.0 trainings of yolo11n" in s for s in text)
    assert found.cheaper() == found.model("a") == better(found)


def test_a_baseline_that_is_better_is_said_first():
    found = board({"a": [0.30, 0.31, 0.30], "yolo11n": [0.35, 0.37, 0.36]})
    assert sentences(found)[0].startswith("A baseline is better: yolo11n is 0.0567 above a")
    assert better(found).name == "yolo11n" and found.cheaper() is None
    unsure = board({"a": [0.30, 0.38], "yolo11n": [0.35, 0.36]})
    assert sentences(unsure)[0].startswith("A baseline is at least as good")
    equal = board({"a": [0.3, 0.3], "yolo11n": [0.3, 0.3]})
    assert sentences(equal)[0].startswith("a and yolo11n, the best baseline, are equal: 0.3000")


def test_what_may_be_chance_is_called_so():
    found = board({"a": [0.30, 0.38], "yolo11n": [0.31, 0.30]})
    assert "which may be chance" in sentences(found)[0]
    once = board({"a": [0.4], "yolo11n": [0.3]})
    assert "trained once" in sentences(once)[1]
    several = board({"a": [0.4, 0.4], "b": [0.3, 0.4], "yolo11n": [0.3, 0.2]})
    assert "2 models stood against the baselines" in sentences(several)[-1]


def test_the_best_at_no_more_cost_and_the_cheapest_that_is_as_good():
    values = {
        "big": [0.5, 0.52],
        "mid": [0.4, 0.41],
        "small": [0.299, 0.296],
        "yolo11n": [0.30, 0.301],
    }
    costs = {"big": 3e9, "mid": 1e9, "small": 0.4e9, "yolo11n": 1e9}
    found = board(values, costs=costs)
    text = " ".join(sentences(found))
    assert "At no more FLOPs than yolo11n, the best of the others is mid: +0.1045" in text
    assert "small has 0.2975 at 0.40 times its FLOPs: -0.0030, and " in text
    assert "less is within the interval. That it is as good to 0.005 is not shown." in text
    sure = {**values, "small": [0.306, 0.308, 0.307], "yolo11n": [0.300, 0.301, 0.302]}
    text = " ".join(sentences(board({n: sure[n] for n in ("small", "yolo11n")}, costs=costs)))
    assert "small is as good as yolo11n to 0.005 (0.3070) at 0.40 times its FLOPs." in text
    costs |= {"mid": 2e9, "small": 2e9}
    assert "No other model has at most the FLOPs" in " ".join(sentences(board(values, costs=costs)))


def test_latency_counts_where_all_have_one():
    models = [
        Model("a", latency_ms=2.0, flops=9),
        Model("b", baseline=True, latency_ms=4.0, flops=1),
    ]
    evaluations = [Evaluation(name, seed, 0.3) for name in "ab" for seed in (0, 1)]
    found = Leaderboard(models, evaluations)
    assert found.cost == "latency_ms" and found.ratio(*models) == 0.5
    assert "0.50 times its measured latency" in sentences(found)[0]
    assert Leaderboard([*models, Model("c", flops=1)], evaluations).cost == "flops"


def test_trainings_that_were_too_short_are_no_verdict():
    text = sentences(board({"a": [0.0, 0.0], "yolo11n": [0.0, 0.0]}))
    assert text[0].startswith("a, yolo11n: all have 0 mAP50-95 on val. These trainings are too")
    assert not any("as good as" in sentence for sentence in text)


def test_without_anything_to_compare():
    assert sentences(board({"a": [], "yolo": []})) == [
        "No training has ended yet: there is nothing to compare."
    ]
    assert sentences(board({"a": [None]}))[0].startswith("All 1 trainings failed, the first by")
    assert sentences(board({"a": [0.2]}))[0].startswith("No baseline was trained; a is")
    assert sentences(board({"yolo": [0.2]}))[0].startswith("Nothing but baselines was")


def weighted(values, **roles):
    """The leaderboard of models from trained weights, by their roles."""
    plain = board(values)
    models = [
        replace(
            model,
            role=roles.get(model.name, ""),
            baseline=model.name in roles,
            weights="" if model.name == "random" else "a.pt",
        )
        for model in plain.models
    ]
    return Leaderboard(models, plain.evaluations, metric=plain.metric)


ROLES = {"mine": "parent", "plain": "stock", "hand": "pencil"}


def test_the_verdict_tells_apart_the_recipe_and_the_network():
    values = {"a": [0.5, 0.52], "mine": [0.4, 0.42], "plain": [0.3, 0.3], "hand": [0.45, 0.45]}
    found = weighted(values, **ROLES)
    assert found.reference.name == "mine" and found.best_baseline.name == "hand"
    text = sentences(found)
    assert text[0].startswith("a is 0.1000 above mine, the parent, in")
    assert any(
        "by stock Ultralytics, mine has 0.3000" in line
        and "the recipe gives +0.1100" in line
        and "the network that was found +0.1000" in line
        for line in text
    )
    assert any("Beside the best that a hand would try, hand (0.4500)" in line for line in text)
    assert not any("random" in line for line in text)


def test_the_verdict_says_that_a_hand_does_better():
    values = {"a": [0.44, 0.46], "mine": [0.4, 0.42], "plain": [0.3, 0.3], "hand": [0.5, 0.5]}
    text = sentences(weighted(values, **ROLES))
    assert any(
        line.startswith("Nothing that was found beats the best that a hand would try: hand has")
        for line in text
    )
    behind = {**values, "a": [0.3, 0.3]}
    assert sentences(weighted(behind, **ROLES))[0].startswith("The parent is better: mine")


def test_the_parent_alone_has_a_verdict():
    text = sentences(weighted({"mine": [0.4], "plain": [0.3]}, **ROLES))
    assert "by the recipe here 0.4000: +0.1000." in text[0]


def test_a_mixture_of_weights_is_said():
    text = sentences(weighted({"a": [0.5], "mine": [0.4], "random": [0.1]}, mine="parent"))
    assert any(line.startswith("Some models started from trained weights") for line in text)


def test_a_part_that_is_not_new_is_said_first():
    plain = board({"yolo11n": [0.3], "a": [0.4]})
    leak = "12 of the 12 images of val are training images"
    spoilt = Leaderboard(plain.models, plain.evaluations, metric=plain.metric, leak=leak)
    assert sentences(spoilt) == [f"Beware: {leak}.", *sentences(plain)]
