"""kill -9 at any moment, then resume: the record is that of an uninterrupted search."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from tests.helpers.shapes import draw
from yolo_nas_ext.api import search
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.study.study import Study

TRIALS = 60
# The fitness is a hash of the architecture, so that it is the same in every process. A search for
# each line that is read, in a process of its own that finds everything imported.
PROGRAM = """
import os, sys, time
from yolo_nas_ext.api import search
from yolo_nas_ext.space.detector import DetectorSpace
import yolo_nas_ext.study.storage
space = DetectorSpace.load("tiny")
def fitness(point):
    time.sleep(0.06)
    return {"fitness": int(space.architecture(point).key, 16) % 1000 / 1000}
search(space, fitness, trials=12, seed=9)  # imports what a search needs
for _ in sys.stdin:
    child = os.fork()
    if not child:
        search(space, fitness, trials=int(sys.argv[2]), seed=9, project=sys.argv[1])
        os._exit(0)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


def keys(study):
    return [t.architecture.key for t in study.trials if t.state == "complete"]


@pytest.mark.parametrize("wanted", [1, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork and no SIGKILL")
def test_killed_again_and_again_it_ends_like_an_uninterrupted_search(tmp_path, wanted):
    space = DetectorSpace.load("tiny")
    whole = search(
        space,
        lambda p: {"fitness": int(space.architecture(p).key, 16) % 1000 / 1000},
        trials=TRIALS,
        seed=9,
    )
    rng, kills, counts = random.Random(0), 0, []
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path), str(TRIALS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin is not None and server.stdout is not None
        for _ in range(40):
            print(file=server.stdin, flush=True)
            child = int(server.stdout.readline())
            if kills < wanted:
                time.sleep(rng.uniform(0.1, 0.7))
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            ended = int(server.stdout.readline())
            kills += ended == signal.SIGKILL
            if (tmp_path / "study.db").exists():
                trials = Study(space, tmp_path / "study.db").trials
                counts.append(sum(t.state == "complete" for t in trials))
                assert sum(t.state == "running" for t in trials) <= 1  # only that in flight is lost
            if ended == 0:
                break
    assert kills == wanted and counts == sorted(counts)
    study = Study(space, tmp_path / "study.db")
    assert keys(study) == keys(whole)
    assert [t.fitness for t in study.trials] == [t.fitness for t in whole.trials]


def command(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "yolo_nas_ext", "search", *arguments], stdout=subprocess.DEVNULL
    )


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_the_command_killed_ten_times_ends_like_an_uninterrupted_one(tmp_path):
    """The whole job with trainings: the same networks with the same fitness, and its files."""
    data = draw(tmp_path / "shapes")
    keys = ["epochs=1", "imgsz=64", "batch=4", "trials=16", "population=4", "baseline=yolov8n"]
    given = [f"data={data}", f"project={tmp_path}", *keys]
    assert command(*given, "name=whole").wait(300) == 0
    rng, kills = random.Random(1), 0
    arguments = [*given, "name=killed"]
    folder = tmp_path / "killed"
    for _ in range(40):
        process = command(*arguments)
        if kills < 10:
            begun = time.monotonic()
            while not (folder / "args.yaml").exists() and process.poll() is None:
                time.sleep(0.01)
            pause = rng.uniform(0.0, 9.0) - (time.monotonic() - begun if kills else 0.0)
            time.sleep(max(0.0, pause))
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
        if process.wait(300) == 0:
            break
        arguments = [f"resume={folder}"]
    assert kills == 10
    studies = [
        Study(DetectorSpace.load("tiny"), tmp_path / n / "study.db") for n in ("whole", "killed")
    ]
    whole, killed = ([(t.architecture.key, t.fitness) for t in s.trials] for s in studies)
    assert killed == whole
    for name in ("best.yaml", "best.pt", "trials.csv", "report.html", "pareto.png"):
        assert (folder / name).is_file()
    assert (folder / "best.yaml").read_text() == (tmp_path / "whole" / "best.yaml").read_text()
