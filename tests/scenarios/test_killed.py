"""kill -9 at many moments of a whole search; the trainings are doubles, all else is real.

Half of the kills come at a file that is about to be made, renamed or removed, the others at any
time: in the search, the confirmation, the finals and while results are written.
"""

import csv
import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest
import torch

from tests.helpers.shapes import draw

KILLS = int(os.environ.get("NAS_KILLS", "20"))
# A search for each line that is read, in a process of its own that finds everything imported. A
# number above 0 kills it at that change of a file, one below 0 after so many milliseconds.
PROGRAM = """
import os, signal, sys, time, zlib
import torch
from yolo_nas_ext import report
from yolo_nas_ext.cli import main
from yolo_nas_ext.commands import search
from yolo_nas_ext.compare import latency, outputs
from yolo_nas_ext.estimators.training import Training, UntouchedTraining

def estimate(self, network, fidelity=None, report=None, weights=None, inherit=None):
    with open(sys.argv[3], "a") as calls:
        calls.write("x")
    time.sleep(0.02)
    told = getattr(network, "key", network)
    value = zlib.crc32(f"{told} {(fidelity or {}).get('seed', 0)}".encode()) % 1000 / 1000
    if weights:
        os.makedirs(os.path.dirname(weights), exist_ok=True)
        torch.save({"fitness": value}, f"{weights}.new")
        os.replace(f"{weights}.new", weights)
    return {"fitness": value, "map50_95": value}

Training.estimate = UntouchedTraining.estimate = estimate
latency.measured = lambda comparison, protocol: comparison
for module, name in ((outputs, "comparison_png"), (report, "pareto_png"), (report, "progress_png")):
    setattr(module, name, lambda what, path, *_: path.write_bytes(b""))
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.link", "shutil.rmtree", "os.truncate")

def kill_at(number):
    def hook(event, arguments):
        nonlocal number
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & 3
        if writes or event in CHANGES:
            number -= 1
            if not number:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)

warm = [f"data={sys.argv[1]}", f"project={sys.argv[2]}", "trials=1", "imgsz=64", "baseline=none"]
null = os.open(os.devnull, os.O_WRONLY)
out = os.fdopen(os.dup(1), "w")
os.dup2(null, 1)
main(["search", *warm, "confirm=0", "name=warm"])
for line in sys.stdin:
    when, *arguments = line.rstrip("\\n").split("\\t")
    child = os.fork()
    if not child:
        kill_at(int(when)) if int(when) > 0 else None
        os._exit(main(["search", *arguments]))
    if int(when) < 0:
        time.sleep(-int(when) / 1000)
        os.kill(child, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=out, flush=True)
"""
KEYS = ("trials=12", "imgsz=64", "baseline=yolov8n", "population=4", "confirm=2", "epochs=1")
FINALS = ("finalists=2", "final_epochs=1", "seeds=2")
TIMES = ("seconds", "started", "ended", "time", "date")


def results(folder):
    """What must not depend on kills."""
    with (folder / "trials.csv").open(newline="") as file:
        rows = [
            {k: v for k, v in row.items() if not any(t in k for t in TIMES)}
            for row in csv.DictReader(file)
        ]
    verdict = re.sub(r"[\d.]+ s\b|as much as [\d.]+", "", (folder / "verdict.md").read_text())
    return rows, (folder / "best.yaml").read_text(), verdict, torch.load(folder / "best.pt")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork and no SIGKILL")
def test_nothing_is_lost_whenever_it_is_killed(tmp_path):
    data = draw(tmp_path / "shapes")
    rng, project, calls = random.Random(0), tmp_path / "runs", tmp_path / "calls"
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(data), str(project), str(calls)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:

        def run(when, *arguments):
            assert server.stdin is not None and server.stdout is not None
            print(when, *arguments, sep="\t", file=server.stdin, flush=True)
            return int(server.stdout.readline())

        given = (f"data={data}", f"project={project}", *KEYS, *FINALS)
        calls.write_text("")
        begin = time.monotonic()
        assert run(0, *given, "name=whole") == 0
        took = 1000 * (time.monotonic() - begin)
        kills, trainings = 0, len(calls.read_text())
        for number in range(KILLS):
            folder, before = project / f"killed{number}", kills
            arguments = (*given, f"name={folder.name}")
            calls.write_text("")
            for _ in range(4):
                when = rng.choice((rng.randint(1, 60), -rng.randint(1, int(took))))
                code = run(when, *arguments)
                assert code in (0, -signal.SIGKILL), (number, when, code)
                kills += code != 0
                if (folder / "args.yaml").exists():
                    arguments = (f"resume={folder}",)
            assert run(0, *arguments) == 0
            assert results(folder) == results(project / "whole")
            assert not [*folder.rglob("*.tmp")]
            assert len(calls.read_text()) <= trainings + kills - before  # that in flight is lost
            if kills >= KILLS:
                break
