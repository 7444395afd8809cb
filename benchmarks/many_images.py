"""A search over as many images as COCO has: time and memory until its first trial.

    python benchmarks/many_images.py [images=118000] [before=<folder>] [folder=<folder>]

Small pictures with a label file each are made, and a search is planned on them in a process of its
own: the data set is read, the part to measure on is held out, a run folder is claimed. Once with no
cache, once more with what the first start left.

- images: how many, of train; val has a hundredth of them.
- before: another working tree of this repository, which is measured beside this one.
- folder: where the images go, and stay; a temporary folder if empty.

The targets are a second start within 5 seconds of wall time and at most 2 GiB at the peak. The
pictures are small, so that what is measured is a lower bound of what decoding them took before.
The last line is a JSON object; `pass` is whether the targets are met.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from lib import MEASURE, ROOT, Figures, Table, start, targets

KEYS = {"images": 118_000, "before": "", "folder": ""}
SECONDS, MEBIBYTES = 5.0, 2048
# What every start does before its first trial; both trees have these functions.
PLAN = """
import sys
from yolo_nas_ext import run_dir
from yolo_nas_ext.pipeline import plan

given = {"data": sys.argv[1], "project": sys.argv[2], "baseline": "none", "trials": 1}
config, _ = run_dir.settings({**given, "max_params": "5M"})
made = plan.make(config)
run_dir.claim(made.config, made.data, "")
print(len(made.data.images), "images,", len(made.estimator.split[1]), "held out")
"""


def main(given: dict[str, Any]) -> Figures:
    """Print what was measured and return the figures."""
    with tempfile.TemporaryDirectory() as temporary:
        data = drawn(Path(given["folder"] or temporary), int(given["images"]))
        table = Table("tree", "start", "wall s", "processor s", "peak MiB")
        trees = {"before": Path(given["before"])} if given["before"] else {}
        found: dict[str, Any] = {}
        for name, tree in {**trees, "after": ROOT}.items():
            for turn in ("first", "second"):
                seconds, used, peak = planned(data, tree, Path(temporary))
                found[f"{name} {turn}"] = [round(seconds, 1), round(used, 1), round(peak)]
                table.row(name, turn, f"{seconds:.1f}", f"{used:.1f}", f"{peak:.0f}")
    met = {
        f"a second start within {SECONDS:g} s": found["after second"][0] <= SECONDS,
        f"at most {MEBIBYTES} MiB": max(found[f"after {t}"][2] for t in ("first", "second"))
        <= MEBIBYTES,
    }
    return {**found, "images": given["images"], "pass": targets(met)}


def drawn(folder: Path, images: int) -> Path:
    """Return a data YAML over small pictures, made unless they are there."""
    file = folder / "many.yaml"
    if file.is_file():
        return file
    rng, numbers = random.Random(0), np.random.default_rng(0)
    for part, many in (("train", images), ("val", max(2, images // 100))):
        for kind in ("images", "labels"):
            (folder / kind / part).mkdir(parents=True, exist_ok=True)
        for index in range(many):
            # Of a few pixels made large, so that each is another picture and none takes long.
            small = numbers.integers(0, 256, (6, 8, 3), np.uint8)
            picture = cv2.resize(small, (80, 60))
            cv2.imwrite(str(folder / "images" / part / f"{index:012d}.jpg"), picture)
            lines = [
                f"{rng.randrange(80)} {rng.uniform(0.3, 0.7):.4f} {rng.uniform(0.3, 0.7):.4f} "
                f"{rng.uniform(0.05, 0.5):.4f} {rng.uniform(0.05, 0.5):.4f}\n"
                for _ in range(rng.randrange(1, 8))
            ]
            (folder / "labels" / part / f"{index:012d}.txt").write_text("".join(lines))
    names = "".join(f"  {index}: kind{index}\n" for index in range(80))
    file.write_text(f"path: {folder}\ntrain: images/train\nval: images/val\nnames:\n{names}")
    return file


def planned(data: Path, tree: Path, folder: Path) -> tuple[float, float, float]:
    """Return seconds, processor seconds and peak MiB of a start in a working tree.

    Raises:
        RuntimeError: Where it fails.
    """
    note = folder / "note.json"
    environment = {**os.environ, "PYTHONPATH": str(tree), "XDG_CACHE_HOME": str(folder / "cache")}
    command = [sys.executable, "-c", PLAN, str(data), str(folder / "runs")]
    measured = [sys.executable, "-c", MEASURE, str(note), *command]
    # From elsewhere: Python takes the package of the folder that it is started in.
    subprocess.run(measured, env=environment, cwd=folder, check=True)
    code, seconds, used, peak = json.loads(note.read_text())
    if code:
        raise RuntimeError(f"{tree}: the start failed with exit code {code}")
    return seconds, used, peak


if __name__ == "__main__":
    start(main, KEYS)
