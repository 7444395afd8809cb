"""kill -9 of a search of a family, stage by stage: what is handed over is as without."""

import csv
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from tests.helpers.parents import checkpoint
from tests.helpers.shapes import draw

KEYS = ("imgsz=64", "sizes=64,96", "epochs=2", "final_epochs=2", "batch=4", "trials=6")
MORE = ("estimator=supernet", "workers=0", "threads=1", "name=s")
# What is there when a run is killed: while the parent or the supernet trains, among the trials,
# and while the front is measured on val.
STAGES = ("args.yaml", "supernet/parent.pt", "supernet/scores.jsonl", "pareto/nas-*.pt")


def search(*keys):
    """Start a search as a process."""
    command = [sys.executable, "-m", "yolo_nas_ext", "search", *keys]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def handed_over(folder):
    """What must not depend on kills: the table, and the weights of each network."""
    with (folder / "family.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    weights = {
        row["key"]: torch.load(folder / row["file"], weights_only=False)["model"].state_dict()
        for row in rows
    }
    return rows, weights


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_family_is_handed_over_as_a_whole_one(tmp_path):
    data, parent = draw(tmp_path / "shapes"), checkpoint(tmp_path, nc=2)
    keys = (f"data={data}", f"model={parent}", *KEYS, *MORE)
    whole = search(*keys, f"project={tmp_path / 'whole'}")
    assert whole.communicate()[1] is not None and whole.returncode == 0
    folder = tmp_path / "killed" / "s"
    given, kills = (*keys, f"project={folder.parent}"), 0
    for stage in STAGES:
        process = search(*given)
        deadline = time.monotonic() + 200
        while process.poll() is None and not [*folder.glob(stage)]:
            assert time.monotonic() < deadline, stage
            time.sleep(0.01)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.communicate()
        given = (f"resume={folder}",)
    last = search(*given)
    errors = last.communicate()[1]
    assert last.returncode == 0, errors
    assert kills >= len(STAGES) - 1  # the last stage may be over before it is seen
    rows, weights = handed_over(folder)
    expected, theirs = handed_over(tmp_path / "whole" / "s")
    assert rows == expected
    for key, own in weights.items():
        assert all(torch.equal(value, theirs[key][name]) for name, value in own.items()), key
