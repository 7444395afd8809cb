import os
import signal
import time
from dataclasses import replace

import pytest

from yolo_nas_ext import ChoiceSpace, search
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.executors.processes import Processes
from yolo_nas_ext.study.trial import Trial

SPACE = ChoiceSpace({f"l{i}": (0, 1, 2) for i in range(3)})


def worth(point):
    return float(sum(point.values()))


def test_two_workers_try_everything_once_and_read_their_data_once():
    import os as system  # a closure goes by value, with what it holds

    def estimate(point):
        return {"fitness": worth(point), "pid": system.getpid()}

    study = search(SPACE, estimate, strategy="random", trials=40, jobs=2)
    assert len({t.point for t in study.trials}) == len(study.complete) == 27
    assert len({t.metrics["pid"] for t in study.trials} - {os.getpid()}) == 2
    assert study.best.fitness == 6


def test_a_worker_that_is_killed_or_out_of_memory_costs_one_failed_trial():
    def estimate(point):
        import os
        import signal

        if point["l0"] == 1 and point["l1"] == 1 and point["l2"] == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if point["l0"] == 2 and point["l1"] == 0 and point["l2"] == 0:
            bytearray(1 << 50)  # a petabyte
        return {"fitness": worth(point)}

    study = search(SPACE, estimate, strategy="random", trials=40, jobs=2)
    failed = {tuple(t.point.values()): t.error for t in study.trials if t.state == "failed"}
    assert failed == {
        (1, 1, 1): "worker: ended by signal 9, perhaps for want of memory",
        (2, 0, 0): "memory: out of memory",
    }
    assert len({t.point for t in study.trials}) == 27 == len(study.complete) + 2


def test_errors_cross_the_border():
    def estimate(trial, report):
        if trial.number == 0:
            raise TrialError("memory", "out of memory")
        if trial.number == 1:
            return {"fitness": float("nan")}
        raise NASError("data=x: no such file")

    workers = Processes(estimate, 1)
    try:
        found = []
        for number in (0, 1):
            workers.submit(Trial(number, SPACE.point({"l0": 0, "l1": 0, "l2": 0})))
            found.append(workers.wait(lambda *_: False).error)
        assert found == ["memory: out of memory", "nan: fitness is nan"]
        workers.submit(Trial(2, None))
        with pytest.raises(NASError, match="no such file"):
            workers.wait(lambda *_: False)
    finally:
        workers.close()


def test_learning_curves_are_pruned_across_processes():
    def estimate(trial, report):
        for epoch in (1, 2, 3):
            report(epoch, epoch / 10)
        return {"fitness": 1.0}

    workers = Processes(estimate, 1)
    asked = []

    def prune(trial, step, value):
        asked.append((trial.number, step, value))
        return step == 2

    try:
        workers.submit(Trial(7, None))
        trial = workers.wait(prune)
    finally:
        workers.close()
    assert trial.state == "pruned" and trial.curve == {1: 0.1, 2: 0.2}
    assert asked == [(7, 1, 0.1), (7, 2, 0.2)]


def test_what_cannot_be_copied_is_said():
    import threading

    lock = threading.Lock()
    with pytest.raises(NASError, match="cannot be copied"):
        search(SPACE, lambda point: {"fitness": lock.locked()}, trials=2, jobs=2)


def test_closing_ends_workers_in_the_middle_of_a_trial():
    def estimate(trial, report):
        time.sleep(600)
        return {"fitness": 0.0}

    workers = Processes(estimate, 2)
    for number in (0, 1):
        workers.submit(replace(Trial(number, None)))
    processes = [worker.process for worker in workers.workers]
    workers.close()
    assert all(process.exitcode == -signal.SIGTERM for process in processes)
