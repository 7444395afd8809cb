import math
import random
from dataclasses import replace
from statistics import median

import pytest

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.loop import run
from yolo_nas_ext.report.summary import Findings
from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.strategies import make
from yolo_nas_ext.study.pruning import FIRST, PRUNERS, Pruning
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

EPOCHS = 9
SPACE = ChoiceSpace({"a": range(40)})


def searched(pruner, trials=40, study=None, epochs=None):
    """A search in which trial a's curve is a straight line to a."""
    study = study or Study(SPACE)

    def estimate(trial, report):
        for epoch in range(1, EPOCHS + 1):
            if epochs is not None:
                epochs.append((trial.number, epoch))
            report(epoch, trial.point["a"] * epoch)
        return {"fitness": trial.point["a"]}

    run(study, make("random", SPACE), estimate, trials=trials, seed=1, pruner=pruner)
    return study


@pytest.mark.parametrize("name", sorted(PRUNERS))
def test_the_best_is_kept_where_curves_do_not_cross(name):
    epochs = []
    study = searched(name, epochs=epochs)
    assert study.best.fitness == 39
    assert (len(epochs) < 0.8 * 40 * EPOCHS) == (name != "none")
    assert all(
        t.error.startswith("pruned: fell behind") for t in study.trials if t.state == "pruned"
    )
    assert not [t for t in study.trials if t.state == "failed"]


def test_the_median_decides_after_the_first_few():
    study = searched("median")
    for trial in study.trials:
        # What the rule says, worked out by hand: behind the median of the complete ones before.
        before = [t for t in study.trials[: trial.number] if t.state == "complete"]
        middle = median(t.fitness for t in before) if before else 0
        behind = len(before) >= FIRST and trial.point["a"] < middle
        assert (trial.state == "pruned") == behind
        assert len(trial.curve) == (1 if behind else EPOCHS)


@pytest.mark.parametrize("name", ["median", "asha"])
def test_nobody_is_given_up_at_the_last_epoch(name):
    """The third point of the curve is a rung of asha, and here the last epoch of each training."""

    def estimate(trial, report):
        for epoch in (1, 2, 3):  # all alike, until the last epoch tells them apart
            report(epoch, 1.0 if epoch < 3 else float(trial.point["a"]))
        return {"fitness": trial.point["a"]}

    def states(**options):
        study = Study(SPACE)
        run(study, make("random", SPACE), estimate, trials=20, pruner=name, **options)
        return [t.state for t in study.trials], [max(t.curve) for t in study.trials]

    told, last = states(fidelity={"epochs": 3})
    assert set(told) == {"complete"} and set(last) == {3}
    assert "pruned" in states()[0]  # of a longer training


def test_asha_compares_with_baselines():
    """Baselines are never pruned; their values at each rung count."""
    pruning = Pruning("asha")
    rungs = {1: 9.0, 3: 9.0}
    for number in range(2):
        made = Trial(number, None, name=f"made{number}", fidelity={"epochs": 9})
        pruning.start(made)
        assert not any(pruning.prune(made, *each) for each in rungs.items())
        pruning.end(replace(made, state="complete", metrics={"fitness": 9.0}))
    found = Trial(2, SPACE.point({"a": 1}), fidelity={"epochs": 9})
    pruning.start(found)
    assert pruning.prune(found, 1, 1.0)


@pytest.mark.parametrize("name", ["median", "asha"])
def test_what_is_recalled_is_what_was_decided_by(name):
    """A pruner made from a history knows of each trial what it did when that ran."""
    rng, live, history = random.Random(0), Pruning(name), []
    for number in range(60):
        made = f"made{number}" if number % 10 == 0 else ""
        trial = Trial(number, None, fidelity={"epochs": EPOCHS}, name=made)
        live.start(trial)
        curve, state = {}, "complete"
        for epoch in range(1, EPOCHS + 1):
            curve[epoch] = rng.random() if number % 7 or epoch == 1 else math.nan
            if live.prune(trial, epoch, curve[epoch]):
                state = "pruned"
                break
        metrics = {"fitness": rng.random()}
        history.append(replace(trial, state=state, curve=curve, metrics=metrics))
        live.end(history[-1])
    assert {t.state for t in history} == {"complete", "pruned"}

    def known(pruning):
        found = pruning.study.get_trials()
        return [(t.state, repr(t.intermediate_values), t.system_attrs) for t in found]

    recalled = Pruning(name, history)
    assert known(recalled) == known(live)
    assert any(attributes for *_, attributes in known(live)) == (name == "asha")


@pytest.mark.parametrize("name", ["median", "asha"])
def test_a_resumed_search_gives_up_the_same(name, tmp_path):
    whole = searched(name)
    first = searched(name, trials=17, study=Study(SPACE, tmp_path / "study.db"))
    assert len(first.trials) == 17
    resumed = searched(name, study=Study(SPACE, tmp_path / "study.db"))
    assert [replace(t, seconds=0.0) for t in resumed.trials] == [
        replace(t, seconds=0.0) for t in whole.trials
    ]
    assert Study(SPACE, tmp_path / "study.db").trials == resumed.trials


def test_the_report_counts_them_apart_from_failures():
    findings = Findings(searched("median"))
    assert findings.pruned and not findings.failed


def test_unknown_pruner():
    with pytest.raises(NASError, match="Did you mean 'median'"):
        Pruning("medien")
