import os
import signal
import time
from dataclasses import replace

import pytest

from yolo_nas_ext import ChoiceSpace, search
from yolo_nas_ext.errors import NASError, RunError, TrialError
from yolo_nas_ext.executors import processes
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
    """Killed in training, or while it sends what it found: another takes its place."""

    def estimate(point):
        import os
        import signal

        if point["l0"] == 1 and point["l1"] == 1 and point["l2"] == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if point["l0"] == 2 and point["l1"] == 0 and point["l2"] == 0:
            bytearray(1 << 50)  # a petabyte
        if point["l0"] == 2 and point["l1"] == 2 and point["l2"] == 2:
            import struct
            from multiprocessing.connection import Connection

            def half(self, data):
                os.write(self.fileno(), struct.pack("!i", len(data)) + bytes(data[:10]))
                os.kill(os.getpid(), signal.SIGKILL)

            Connection._send_bytes = half
        return {"fitness": worth(point)}

    study = search(SPACE, estimate, strategy="random", trials=40, jobs=2)
    failed = {tuple(t.point.values()): t.error for t in study.trials if t.state == "failed"}
    assert failed == {
        (1, 1, 1): "worker: ended by signal 9, perhaps for want of memory",
        (2, 0, 0): "memory: out of memory",
        (2, 2, 2): "worker: ended by signal 9, perhaps for want of memory",
    }
    assert len({t.point for t in study.trials}) == 27 == len(study.complete) + 3


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


def test_a_worker_killed_before_it_reads_is_replaced():
    """The estimate is larger than a pipe, so that whoever writes it to nobody would wait."""
    data = bytes(1 << 20)
    workers = Processes(lambda trial, report: {"fitness": float(len(data))}, 1)
    try:
        workers.submit(Trial(0, None))
        workers.workers[0].process.kill()
        error = workers.wait(lambda *_: False).error
        assert error == "worker: ended by signal 9, perhaps for want of memory at its start"
        workers.submit(Trial(1, None))  # to another one
        assert workers.wait(lambda *_: False).metrics["fitness"] == 1 << 20
    finally:
        workers.close()


def test_workers_that_all_die_at_their_start_end_the_search(monkeypatch):
    monkeypatch.setattr(processes, "work", os._exit)  # with a pipe for its code
    workers = Processes(lambda trial, report: {}, 2)
    try:
        with pytest.raises(RunError, match="jobs=2: 3 workers ended with exit code 1 at"):
            for number in range(9):
                workers.submit(Trial(number, None))
                workers.wait(lambda *_: False)
    finally:
        workers.close()


def test_an_answer_to_a_worker_that_died_buries_it():
    def estimate(trial, report):
        report(1, 0.5)
        return {"fitness": 1.0}

    workers = Processes(estimate, 1)

    def prune(trial, step, value):
        workers.workers[0].process.kill()
        workers.workers[0].process.join()
        return False

    try:
        workers.submit(Trial(0, None))
        assert workers.wait(prune).error.startswith("worker: ended by signal 9")
    finally:
        workers.close()


def test_a_worker_whose_gpu_is_lost_to_it_is_replaced():
    def estimate(trial, report):
        import os

        if trial.number == 0:
            raise TrialError("device", "CUDA error: device-side assert triggered")
        return {"fitness": float(os.getpid())}

    workers = Processes(estimate, 1)
    try:
        workers.submit(Trial(0, None))
        before = workers.workers[0].process.pid
        assert workers.wait(lambda *_: False).error.startswith("device: CUDA error")
        workers.submit(Trial(1, None))
        assert workers.wait(lambda *_: False).metrics["fitness"] != before
    finally:
        workers.close()


def test_jobs_are_shared_evenly_by_devices():
    class Estimate:
        def use_device(self, device):
            self.device = device

        def __call__(self, trial, report):
            return {"fitness": float(self.device)}

    workers = Processes(Estimate(), 4, ["2", "5"])
    try:
        for number in range(4):
            workers.submit(Trial(number, None))
        found = [workers.wait(lambda *_: False).metrics["fitness"] for _ in range(4)]
    finally:
        workers.close()
    assert sorted(found) == [2, 2, 5, 5]
