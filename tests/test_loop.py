import math

import pytest

from yolo_nas_ext import ChoiceSpace, search
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.space.detector import DetectorSpace

SPACE = ChoiceSpace({f"l{i}": ("id", "mb3k3", "mb6k5") for i in range(4)})


def fitness(point):
    return {"fitness": float(sum(("id", "mb3k3", "mb6k5").index(v) for v in point.values()))}


def test_the_example_of_the_documentation():
    table = {point: fitness(point)["fitness"] for point in SPACE.enumerate()}
    study = search(
        SPACE, lambda point: {"fitness": table[point]}, strategy="evolution", trials=50, seed=0
    )
    assert len(study.trials) == 50 and study.best.metrics["fitness"] >= 7
    assert study.best.point["l0"] in SPACE.choices["l0"]


@pytest.mark.parametrize("strategy", ["random", "evolution"])
def test_an_exhausted_space_ends_the_search_at_its_optimum(strategy):
    study = search(SPACE, fitness, strategy=strategy, trials=500)
    assert len(study.trials) == 81 and study.best.fitness == 8


def test_failures_are_trials():
    def estimate(point):
        if point["l0"] == "id":
            raise TrialError("memory", "out of memory")
        if point["l0"] == "mb3k3":
            raise RuntimeError("boom\nsecond line")
        return {"fitness": math.nan} if point["l1"] == "id" else {"fitness": 1.0}

    study = search(SPACE, estimate, strategy="random", trials=81)
    errors = {t.error for t in study.trials if t.state == "failed"}
    assert errors == {
        "memory: out of memory",
        "error: RuntimeError: boom second line",
        "nan: fitness is nan",
    }
    assert len(study.complete) == 18


@pytest.mark.parametrize("strategy", ["random", "evolution"])
def test_resumed_at_any_point_it_proposes_what_it_would_have(tmp_path, strategy):
    whole = [t.point for t in search(SPACE, fitness, strategy=strategy, trials=25, seed=4).trials]
    for stop in (1, 7, 16, 24):
        folder = tmp_path / f"{strategy}{stop}"
        search(SPACE, fitness, strategy=strategy, trials=stop, seed=4, project=folder)
        study = search(SPACE, fitness, strategy=strategy, trials=25, seed=4, project=folder)
        assert [t.point for t in study.trials] == whole


def test_an_interrupt_keeps_what_is_there(tmp_path):
    calls = []

    def estimate(point):
        calls.append(point)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return fitness(point)

    with pytest.raises(KeyboardInterrupt):
        search(SPACE, estimate, trials=10, project=tmp_path)
    study = search(SPACE, fitness, trials=10, project=tmp_path)
    assert [t.point for t in study.trials] == [
        t.point for t in search(SPACE, fitness, trials=10).trials
    ]


def test_costs_join_the_metrics_of_a_detector_space():
    space = DetectorSpace.load("tiny")
    study = search(space, lambda point: {"fitness": point["p3.width"]}, trials=3, strategy="random")
    trial = study.trials[0]
    assert trial.metrics["params_m"] * 1e6 == pytest.approx(trial.cost["params"])
    assert trial.metrics["flops_g"] * 1e9 == pytest.approx(trial.cost["flops"])


def test_nothing_is_written_without_a_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    search(SPACE, fitness, trials=3)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: search(SPACE, fitness, strategy="evolutoin"), "Did you mean 'evolution'"),
        (lambda: search("tiny", fitness), "give a ChoiceSpace"),
        (lambda: search(SPACE, fitness, epochs=3), "epochs: not a key"),
        (lambda: search(SPACE, fitness, trials="many"), "trials takes a whole number"),
        (lambda: search(SPACE, fitness, trials=2.5), "trials takes a whole number"),
        (lambda: search(SPACE, fitness, trials=0), "trials takes a whole number of 1 or more"),
        (lambda: search(SPACE, fitness, seed="x"), "seed takes a whole number"),
        (lambda: search(SPACE, fitness, project=f"{__file__}/run"), "project=.*: cannot write"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(NASError, match=message):
        call()
