from yolo_nas_ext.executors.inline import Inline
from yolo_nas_ext.executors.spread import spread
from yolo_nas_ext.study.trial import Trial


class Two:
    """Evaluates two at a time; the one that came last ends first."""

    slots = 2

    def __init__(self):
        self.trials, self.closed = [], False

    @property
    def running(self):
        return len(self.trials)

    def submit(self, trial):
        assert self.running < self.slots
        self.trials.append(trial)

    def wait(self, prune):
        return self.trials.pop()

    def close(self):
        self.closed = True


def test_as_many_at_a_time_as_there_are_slots_and_asked_again_after_each():
    executor, left, known = Two(), iter(range(5)), []

    def wanted():
        known.append(executor.running)
        number = next(left, None)
        return None if number is None else Trial(number, None)

    found = [trial.number for trial in spread(lambda: executor, wanted)]
    assert found == [1, 2, 3, 4, 0] and executor.closed
    assert known == [0, 1, 1, 1, 1, 1, 0]


def test_one_at_a_time_is_asked_for_once_the_last_is_known():
    ended = []
    estimate = lambda trial, report: {"fitness": 1.0}  # noqa: E731

    def wanted():
        return Trial(len(ended), None) if len(ended) < 3 else None

    for trial in spread(lambda: Inline(estimate), wanted):
        ended.append(trial.number)
    assert ended == [0, 1, 2]


def test_nothing_is_made_where_nothing_is_wanted():
    assert list(spread(lambda: 1 / 0, lambda: None)) == []
