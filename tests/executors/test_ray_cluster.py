"""Ray on this machine; slow ones on a cluster of two nodes, one of which is lost."""

import os
import signal
import subprocess
import sys
import time

import pytest

from yolo_nas_ext import ChoiceSpace, search
from yolo_nas_ext.errors import RunError
from yolo_nas_ext.executors import ray_cluster
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

ray = pytest.importorskip("ray", reason="Ray is an extra: pip install 'yolo-nas-ext[ray]'")

SPACE = ChoiceSpace({f"l{i}": (0, 1, 2) for i in range(3)})

# Ray's own processes and sockets outlive a test by a moment.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
]


@pytest.mark.slow
def test_one_worker_on_ray_searches_as_this_process_does():
    """Also: the estimate's error is the trial's, and a dead worker is tried again, then failed."""

    def estimate(point):
        import os

        if dict(point) == {"l0": 1, "l1": 1, "l2": 1}:
            os._exit(1)
        if point["l0"] == 2 and point["l1"] == 2:
            raise MemoryError
        return {"fitness": float(sum(point.values()))}

    def harmless(point):
        if dict(point) == {"l0": 1, "l1": 1, "l2": 1}:
            raise ValueError
        return estimate(point)

    here = search(SPACE, harmless, strategy="evolution", trials=27, seed=1)
    there = search(SPACE, estimate, strategy="evolution", trials=27, seed=1, executor="ray", jobs=1)
    assert [t.point for t in there.trials] == [t.point for t in here.trials]
    assert [t.state for t in there.trials] == [t.state for t in here.trials]
    errors = {t.error.partition(":")[0] for t in there.trials if t.state == "failed"}
    assert errors == {"memory", "worker"}
    assert not ray.is_initialized()


def test_ray_that_starts_at_the_second_attempt_or_not_at_all(monkeypatch):
    """A busy machine may take longer than the 30 s that Ray gives itself."""
    asked = []

    def init(address, **options):
        asked.append(address)
        if len(asked) < starts:
            raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", init)
    starts = 2
    ray_cluster.start(None)
    assert asked == ["local"] * 2
    starts = 9
    with pytest.raises(RunError, match=r"Ray does not start .*timed out"):
        ray_cluster.start(None)


@pytest.mark.slow
def test_a_node_is_lost_and_nothing_else(tmp_path):
    from ray.cluster_utils import Cluster

    both = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    node = both.add_node(num_cpus=2)
    ray.init(address=both.address, log_to_driver=False)
    log = tmp_path / "log"

    def estimate(point):
        time.sleep(0.5)
        with log.open("a") as file:
            file.write(f"{sorted(point.items())}\n")
        if len(log.read_text().splitlines()) == 8:
            (tmp_path / "now").touch()
        return {"fitness": float(sum(point.values()))}

    import threading

    def remove():
        while not (tmp_path / "now").exists():
            time.sleep(0.05)
        both.remove_node(node)

    thread = threading.Thread(target=remove)
    thread.start()
    try:
        study = search(SPACE, estimate, strategy="random", trials=27, executor="ray", jobs=4)
    finally:
        (tmp_path / "now").touch()
        thread.join()
        ray.shutdown()
        both.shutdown()
    assert len(study.complete) == len({t.point for t in study.trials}) == 27


# Runs a search in a folder until it is interrupted.
PROGRAM = """
import sys, time
from yolo_nas_ext import search
from tests.executors.test_ray_cluster import SPACE

def estimate(point):
    time.sleep(0.3)
    return {"fitness": float(sum(point.values()))}

search(SPACE, estimate, strategy="random", trials=27, executor="ray", jobs=2, project=sys.argv[1])
"""


@pytest.mark.slow
def test_ctrl_c_and_resume(tmp_path, root):
    """The trials that ran are run again under their numbers, and none is lost or tried twice."""
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path)], cwd=root)
    until = time.monotonic() + 120
    ended = 0
    while ended < 5 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.2)
        if (tmp_path / "study.db").exists():
            ended = len(Study(SPACE, tmp_path / "study.db").complete)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) != 0
    left = Study(SPACE, tmp_path / "study.db").trials
    running = [t for t in left if t.state == "running"]
    assert 5 <= len(left) < 27 and 1 <= len(running) <= 2
    study = search(
        SPACE,
        lambda p: {"fitness": float(sum(p.values()))},
        strategy="random",
        trials=27,
        executor="ray",
        jobs=2,
        project=tmp_path,
    )
    assert [t.number for t in study.trials] == list(range(27))
    assert len(study.complete) == len({t.point for t in study.trials}) == 27
    assert [study.trials[t.number].point for t in left] == [t.point for t in left]


@pytest.mark.slow
def test_four_trials_run_at_a_time(tmp_path):  # what that saves: benchmarks/executors.py
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)

    def estimate(point):
        (tmp_path / str(point["a"])).touch()
        until = time.monotonic() + 120
        while len(list(tmp_path.iterdir())) < 4:
            if time.monotonic() > until:
                raise TimeoutError("the others have not begun")
            time.sleep(0.05)
        return {"fitness": float(os.getpid())}

    try:
        study = search(
            ChoiceSpace({"a": (0, 1, 2, 3)}),
            estimate,
            strategy="random",
            trials=4,
            executor="ray",
            jobs=4,
        )
    finally:
        ray.shutdown()
    assert len(study.complete) == 4
    assert len({t.metrics["fitness"] for t in study.trials}) == 4  # each in a process of its own


@pytest.mark.slow
def test_estimates_that_do_their_worst_cost_one_trial_each(tmp_path):
    """What leaves a worker is a trial of ours or the error of one, whatever the estimate does."""

    class Weird(Exception):
        def __init__(self, one, two):
            super().__init__("weird")

        def __reduce__(self):
            raise TypeError("cannot be copied")

    def estimate(point):
        import os
        import signal
        import sys

        what = ("killed", "exit", "weird", "text", "list", "infinite", "number", "none", "fine")
        how = what[point["l0"] * 3 + point["l1"]]
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "exit":
            sys.exit(3)
        if how == "weird":
            raise Weird(1, 2)
        results = {
            "text": {"fitness": "__import__('os')"},
            "list": [1, 2],
            "infinite": {"fitness": 1e400},
            "number": 5,
            "none": None,
            "fine": {"fitness": 1.0, "other": float("nan")},
        }
        return results[how]

    space = ChoiceSpace({"l0": (0, 1, 2), "l1": (0, 1, 2)})
    study = search(space, estimate, strategy="random", trials=9, executor="ray", jobs=2)
    states = {tuple(t.point.values()): (t.state, t.error) for t in study.trials}
    assert [p for p, (state, _) in states.items() if state == "complete"] == [(2, 2)]
    assert len(states) == 9 and all("\n" not in error for _, error in states.values())
    assert states[0, 0][1].startswith("worker: ") and states[1, 2][1].startswith("nan: ")


# Searches in a folder on Ray of its own, and says that it runs.
LOST = PROGRAM.replace("time.sleep(0.3)", "time.sleep(0.5)")


@pytest.mark.slow
def test_ray_that_dies_under_a_search_loses_what_ran(tmp_path, root):
    """Ray ends the process that it served; the record goes on without what ran."""
    import psutil

    process = subprocess.Popen([sys.executable, "-c", LOST, str(tmp_path)], cwd=root)
    until, ended = time.monotonic() + 180, 0
    while ended < 3 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.2)
        if (tmp_path / "study.db").exists():
            ended = len(Study(SPACE, tmp_path / "study.db").complete)
    served = psutil.Process(process.pid).children(recursive=True)
    for child in served:
        if child.name() in ("raylet", "gcs_server"):
            child.kill()
    assert process.wait(timeout=180) != 0
    for child in served:
        if child.is_running():
            child.kill()
    left = Study(SPACE, tmp_path / "study.db").trials
    assert ended <= len([t for t in left if t.state == "complete"]) < 27
    study = search(
        SPACE,
        lambda p: {"fitness": float(sum(p.values()))},
        strategy="random",
        trials=27,
        project=tmp_path,
    )
    assert [t.number for t in study.trials] == list(range(27)) and len(study.complete) == 27


def test_tasks_report_and_are_pruned_and_a_lost_worker_costs_another_attempt(tmp_path):
    """Also: a GPU a task where the cluster has some, which is device 0 to the task."""
    ray.init(num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False)

    class Estimate:
        device = ""

        def use_device(self, device):
            self.device = device

        def __call__(self, trial, report):
            report(1, float(trial.number))
            if trial.number == 1 and not (tmp_path / "lost").exists():
                (tmp_path / "lost").touch()
                os._exit(1)
            report(2, 0.5)
            return {"fitness": 1.0 + int(self.device)}

    asked = []

    def prune(trial, step, value):
        asked.append((trial.number, step, value))
        return (trial.number, step) == (0, 2)

    try:
        there = ray_cluster.Cluster(Estimate())
        assert there.slots == 2
        for number in (0, 1):
            there.submit(Trial(number, None))
        found = {t.number: t for t in (there.wait(prune), there.wait(prune))}
        there.close()
    finally:
        ray.shutdown()
    assert found[0].state == "pruned" and found[0].curve == {1: 0.0, 2: 0.5}
    assert found[1].metrics["fitness"] == 1.0
    assert sorted(asked) == [(0, 1, 0.0), (0, 2, 0.5), (1, 1, 1.0), (1, 1, 1.0), (1, 2, 0.5)]
