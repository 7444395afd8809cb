"""Finished studies of numbers, for tests of what is done with the best."""

from yolo_nas_ext.errors import TrialError
from yolo_nas_ext.space.choices import ChoiceSpace
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
