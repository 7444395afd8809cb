"""A training of their own for the best of a search."""

import pytest

from tests.helpers.studies import SPACE, filled, table
from yolo_nas_ext.pipeline.confirm import confirm
from yolo_nas_ext.report.summary import Findings
from yolo_nas_ext.study.objectives import Goal
from yolo_nas_ext.study.storage import recorded_seconds
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial


def test_the_best_by_shared_weights_are_named_by_their_own_training(tmp_path):
    path = tmp_path / "study.db"
    study = filled([0.1, 0.5, 0.9, 0.6, 0.7, 0.1, 0.2, 0.3, None, 0.4, 0.2, 0.1, 0.1], path)
    estimate, asked = table([0, 0, 0.3, 0.8, None, 0, 0, 0, 0, 0, 0, 0, 0])
    confirm(study, lambda trial, report: estimate(trial, 0), n=9)  # a quarter of 12 are 3
    assert [number for number, _ in asked] == [2, 4, 3]
    assert study.best.number == 3 and study.best.fitness == 0.6  # as it was first measured
    assert study.best.trained.fitness == 0.8 and study.best.metrics["trained_fitness"] == 0.8
    assert study.results[4].metrics == {"fitness": 0.7}  # it could not be trained
    resumed = Study(SPACE, path)
    confirm(resumed, lambda trial, report: pytest.fail("trained again"), n=3)
    assert resumed.best == study.best and list(resumed.results) == list(study.results)
    assert recorded_seconds(path) == sum(m.get("seconds", 0) for m in study.confirmed.values()) > 0
    sentences = Findings(study).verdict()
    assert "trial 4 is the best" in sentences[0] and "0.8000" in sentences[0]
    assert "2 networks" in sentences[-1] and "trial 3, is number 2 of them" in sentences[-1]


def test_baselines_are_trained_too_and_compared_alike():
    study = filled([0.1 * n for n in range(8)])
    study.add(
        [Trial(8, SPACE.point({"a": 8}), state="complete", name="hand", metrics={"fitness": 0.05})]
    )
    estimate, asked = table([0, 0, 0, 0, 0, 0, 0.4, 0.5, 0.6])
    confirm(study, lambda trial, report: estimate(trial, 0), n=2)
    assert [number for number, _ in asked] == [7, 6, 8] and study.best.name == "hand"
    assert "A baseline is best: hand has fitness 0.6000" in Findings(study).verdict()[0]
    none = filled([0.1 * n for n in range(8)])
    confirm(none, lambda trial, report: pytest.fail("trained"), n=0)


def test_of_the_pencils_the_best_is_trained_too():
    study = Study(SPACE, parent="own", pencils=("cut", "small", "large"))
    rows = [("own", 0.2, 9), ("small", 0.1, 10), ("cut", 0.3, None), ("large", 0.25, 11)]
    for i, (name, fitness, a) in enumerate(rows):
        point = None if a is None else SPACE.point({"a": a})
        metrics = {"fitness": fitness}
        study.add([Trial(i, point, state="complete", name=name, metrics=metrics)])
    for i in range(4, 9):
        metrics = {"fitness": 0.1 * i}
        study.add([Trial(i, SPACE.point({"a": i}), state="complete", metrics=metrics)])
    assert study.known_pencils[0].name == "cut"
    estimate, asked = table([0.2] * 9)
    confirm(study, lambda trial, report: estimate(trial, 0), n=1)
    assert [number for number, _ in asked] == [8, 2, 0]
    # What was confirmed comes first: the others' fitness is of shorter trainings.
    assert [t.name for t in study.known_pencils] == ["cut", "large", "small"]
    confirm(study, lambda trial, report: pytest.fail("trained again"), n=1)


def test_a_shared_record_holds_own_trainings(tmp_path):
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    study = Study(SPACE, url)
    for n in range(4):
        trial = study.start(Trial(n, SPACE.point({"a": n})))
        study.finish(Trial(trial.number, trial.point, state="complete", metrics={"fitness": n}))
    confirm(study, lambda trial, report: {"fitness": 9.0, "loss": 1.0}, n=1)
    other = Study(SPACE, url)
    other.refresh()
    assert other.confirmed == study.confirmed and other.best.trained.fitness == 9.0
    assert set(other.confirmed[3]) == {"fitness", "seconds"}


def test_a_limit_holds_for_what_was_trained():
    space = Study(SPACE, goal=Goal(("fitness",), {"map50": 0.5}))
    for n in range(8):
        metrics = {"fitness": 0.1 * n, "map50": 0.6}
        space.add([Trial(n, SPACE.point({"a": n}), state="complete", metrics=metrics)])
    found = {7: {"fitness": 0.9, "map50": 0.4}, 6: {"fitness": 0.8, "map50": 0.7}}
    confirm(space, lambda trial, report: found[trial.number], n=2)
    assert space.best.number == 6
