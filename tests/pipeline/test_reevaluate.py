"""The estimator again, under another seed, for the best of a search."""

import random

import pytest

from tests.helpers.studies import SPACE, filled, table
from yolo_nas_ext.pipeline.reevaluate import reevaluate
from yolo_nas_ext.report.summary import Findings
from yolo_nas_ext.study.study import Study


def test_a_lucky_winner_is_found_out_and_who_overtakes_is_evaluated_again():
    study = filled([0.0, 0.5, 0.9, 0.6, 0.7, 0.1, 0.2, 0.3, None])
    estimate, asked = table([0, 0.5, 0.1, 0.6, 0.5, 0, 0, 0, 0])
    reevaluate(study, lambda trial, report: estimate(trial, 8), n=2)
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
def test_no_more_than_a_part_is_evaluated_again(n, trials, most):
    rng = random.Random(0)
    study = filled([rng.random() for _ in range(trials)])
    estimate, asked = table([0.0] * trials)  # everybody falls, so that others come up
    reevaluate(study, lambda trial, report: estimate(trial, 1), n=n)
    assert len(asked) == most == len(set(asked))


def test_second_measurements_are_recorded_at_once_and_a_failed_one_is_not_tried_again(tmp_path):
    path = tmp_path / "study.db"
    study = filled([0.1 * n for n in range(10)], path)
    again = [0.3] * 9 + [None]

    def killed(trial, report):
        if trial.number == 8:
            raise KeyboardInterrupt
        return table(again)[0](trial, 1)

    with pytest.raises(KeyboardInterrupt):
        reevaluate(study, killed, n=2)
    resumed = Study(SPACE, path)
    assert dict(resumed.repeats) == {9: []} and resumed.results[9].fitness == 0.9
    estimate, asked = table(again)
    reevaluate(resumed, lambda trial, report: estimate(trial, 1), n=2)
    assert [number for number, _ in asked] == [8, 7, 6]
    last = Study(SPACE, path)
    assert list(last.results) == list(resumed.results)
    assert last.results[9].fitness == 0.9 and last.best.number == 8  # 9 was never measured again


def test_who_was_not_measured_again_is_no_winner():
    study = filled([0.128, 0.125, 0.12, 0.11, 0.1, 0.1, 0.1, 0.1])
    estimate, asked = table([0.0, 0.003, 0.0, 0.0] + [0.0] * 4)
    reevaluate(study, lambda trial, report: estimate(trial, 1), n=1)
    assert [number for number, _ in asked] == [0, 1]  # at most twice n: both fall
    assert study.best.number in (0, 1) and study.best.fitness == 0.064
    # A training of its own counts for more.
    study.record_confirmation(2, {"fitness": 0.2})
    assert study.best.number == 2


def test_time_that_is_up_ends_it():
    study = filled([0.1 * n for n in range(10)])
    estimate, asked = table([0.0] * 10)
    reevaluate(study, lambda trial, report: estimate(trial, 1), n=2, deadline=0.0)
    assert not asked and study.best.number == 9
