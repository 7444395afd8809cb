import random

import pytest

from yolo_nas_ext.errors import TrialError
from yolo_nas_ext.pipeline.confirm import confirm, repeat
from yolo_nas_ext.report.summary import Findings
from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.study.objectives import Goal
from yolo_nas_ext.study.storage import recorded_seconds
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

SPACE = ChoiceSpace({"a": range(100)})


def filled(values, path=None):
    study = Study(SPACE, path)
    for number, value in enumerate(values):
        metrics = {} if value is None else {"fitness": value}
        state = "failed" if value is None else "complete"
        trial = Trial(number, SPACE.point({"a": number}), state=state, metrics=metrics)
        study.start(trial)
        study.finish(trial)
    return study


def table(values):
    asked = []

    def estimate(trial, seed):
        asked.append((trial.number, seed))
        if values[trial.number] is None:
            raise TrialError("nan", "x")
        return {"fitness": values[trial.number]}

    return estimate, asked


def test_a_lucky_winner_is_found_out_and_who_overtakes_is_judged_again():
    study = filled([0.0, 0.5, 0.9, 0.6, 0.7, 0.1, 0.2, 0.3, None])
    estimate, asked = table([0, 0.5, 0.1, 0.6, 0.5, 0, 0, 0, 0])
    repeat(study, estimate, n=2, seed=7)
    # 2 and 4 first; 2 falls to 0.5 and 4 to 0.6, which lets 3 among the two best.
    assert asked == [(2, 8), (4, 8), (3, 8)]
    assert study.best.number == 3 and study.best.fitness == 0.6
    assert study.results[2].metrics == {
        "fitness": 0.5,
        "fitness_first": 0.9,
        "fitness_again": 0.1,
    }
    assert study.trials[2].metrics == {"fitness": 0.9}  # what strategies see stays as it was
    sentence = Findings(study).verdict()[-1]
    assert "best 3" in sentence and "+0.3333" in sentence


@pytest.mark.parametrize(
    ("n", "trials", "most"), [(5, 40, 10), (5, 8, 4), (5, 3, 0), (0, 40, 0), (1, 40, 2)]
)
def test_no_more_than_a_part_is_repeated(n, trials, most):
    rng = random.Random(0)
    study = filled([rng.random() for _ in range(trials)])
    estimate, asked = table([0.0] * trials)  # everybody falls, so that others come up
    repeat(study, estimate, n=n, seed=0)
    assert len(asked) == most == len(set(asked))


def test_repeats_are_recorded_at_once_and_a_failed_one_is_not_tried_again(tmp_path):
    path = tmp_path / "study.db"
    study = filled([0.1 * n for n in range(10)], path)
    again = [0.3] * 9 + [None]

    def killed(trial, seed):
        if trial.number == 8:
            raise KeyboardInterrupt
        return table(again)[0](trial, seed)

    with pytest.raises(KeyboardInterrupt):
        repeat(study, killed, n=2, seed=0)
    resumed = Study(SPACE, path)
    assert dict(resumed.repeats) == {9: []} and resumed.results[9].fitness == 0.9
    estimate, asked = table(again)
    repeat(resumed, estimate, n=2, seed=0)
    assert [number for number, _ in asked] == [8, 7, 6]
    last = Study(SPACE, path)
    assert list(last.results) == list(resumed.results) and last.best.number == 9


def test_time_that_is_up_ends_it():
    study = filled([0.1 * n for n in range(10)])
    estimate, asked = table([0.0] * 10)
    repeat(study, estimate, n=2, seed=0, deadline=0.0)
    assert not asked and study.best.number == 9


def test_the_best_by_shared_weights_are_named_by_their_own_training(tmp_path):
    path = tmp_path / "study.db"
    study = filled([0.1, 0.5, 0.9, 0.6, 0.7, 0.1, 0.2, 0.3, None, 0.4, 0.2, 0.1, 0.1], path)
    estimate, asked = table([0, 0, 0.3, 0.8, None, 0, 0, 0, 0, 0, 0, 0, 0])
    confirm(study, lambda trial: estimate(trial, 0), n=9)  # a quarter of 12 are 3
    assert [number for number, _ in asked] == [2, 4, 3]
    assert study.best.number == 3 and study.best.fitness == 0.6  # as it was first judged
    assert study.best.trained.fitness == 0.8 and study.best.metrics["trained_fitness"] == 0.8
    assert study.results[4].metrics == {"fitness": 0.7}  # it could not be trained
    resumed = Study(SPACE, path)
    confirm(resumed, lambda trial: pytest.fail("trained again"), n=3)
    assert resumed.best == study.best and list(resumed.results) == list(study.results)
    assert recorded_seconds(path) == sum(m.get("seconds", 0) for m in study.confirmed.values()) > 0
    sentences = Findings(study).verdict()
    assert "trial 4 is the best" in sentences[0] and "0.8000" in sentences[0]
    assert "2 networks" in sentences[-1] and "trial 3, is number 2 of them" in sentences[-1]


def test_hand_made_networks_are_trained_too_and_compared_alike():
    study = filled([0.1 * n for n in range(8)])
    study.add(
        [Trial(8, SPACE.point({"a": 8}), state="complete", name="hand", metrics={"fitness": 0.05})]
    )
    estimate, asked = table([0, 0, 0, 0, 0, 0, 0.4, 0.5, 0.6])
    confirm(study, lambda trial: estimate(trial, 0), n=2)
    assert [number for number, _ in asked] == [7, 6, 8] and study.best.name == "hand"
    assert "A baseline is best: hand has fitness 0.6000" in Findings(study).verdict()[0]
    none = filled([0.1 * n for n in range(8)])
    confirm(none, lambda trial: pytest.fail("trained"), n=0)


def test_a_shared_record_holds_own_trainings(tmp_path):
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    study = Study(SPACE, url)
    for n in range(4):
        trial = study.start(Trial(n, SPACE.point({"a": n})))
        study.finish(Trial(trial.number, trial.point, state="complete", metrics={"fitness": n}))
    confirm(study, lambda trial: {"fitness": 9.0, "loss": 1.0}, n=1)
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
    confirm(space, lambda trial: found[trial.number], n=2)
    assert space.best.number == 6
