"""kill -9 at any moment, then resume: the record is that of an uninterrupted search."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from yolo_nas_ext.loop import search
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.study import Study

TRIALS = 60
# The fitness is a hash of the architecture, so that it is the same in every process.
PROGRAM = """
import sys, time
from yolo_nas_ext.loop import search
from yolo_nas_ext.space.detector import DetectorSpace
space = DetectorSpace.load("tiny")
def fitness(point):
    time.sleep(0.06)
    return {"fitness": int(space.architecture(point).key, 16) % 1000 / 1000}
print("ready", flush=True)
search(space, fitness, trials=int(sys.argv[2]), seed=9, project=sys.argv[1])
print("done", flush=True)
"""


def keys(study):
    return [t.architecture.key for t in study.trials if t.state == "complete"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed_ten_times_it_ends_like_an_uninterrupted_search(tmp_path):
    space = DetectorSpace.load("tiny")
    whole = search(
        space, lambda p: {"fitness": int(space.architecture(p).key, 16) % 1000 / 1000},
        trials=TRIALS, seed=9,
    )  # fmt: skip
    rng, kills, counts = random.Random(0), 0, []
    for _ in range(40):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path), str(TRIALS)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        if kills < 10:
            time.sleep(rng.uniform(0.1, 0.7))
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
        ended = process.wait(60)
        process.stdout.close()
        if (tmp_path / "study.db").exists():
            trials = Study(space, tmp_path / "study.db").trials
            counts.append(sum(t.state == "complete" for t in trials))
            assert sum(t.state == "running" for t in trials) <= 1  # only that in flight is lost
        if ended == 0:
            break
    assert kills == 10 and counts == sorted(counts)
    study = Study(space, tmp_path / "study.db")
    assert keys(study) == keys(whole)
    assert [t.fitness for t in study.trials] == [t.fitness for t in whole.trials]
