"""Conversion of scans: masks rebuilt from polygons, memory on a large CT, and two cores.

    python benchmarks/conversion.py scans=msd_hippocampus   # with masks under labels/
    python benchmarks/conversion.py                         # the large volume, and two cores
    python benchmarks/conversion.py parts=cores

Runs `yolo nas-data task=segment` in new processes. Masks are drawn from the written polygons as
Ultralytics draws them and compared with the volumes', class by class and slice by slice, as Dice.
The large volume is 512 x 512 x 800, compressed, in 8 bytes a voxel (the worst) and in 2 (the
usual). Sixteen volumes of 256 x 256 x 120 are converted by one process and by two. On a machine
that does other work, seconds of the clock mean little: the least that two could take is half of
their seconds of the processor. The last line is a JSON object; `pass` holds a mean Dice of at least
0.95, a peak below 2 GiB, and two processes that are 1.7 times as fast as one.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from lib import Figures, Spent, Table, located, measured, names, start, targets

from yolo_nas_ext.data.polygons import fill
from yolo_nas_ext.data.scans.masks import labels
from yolo_nas_ext.data.scans.pairing import find

KEYS = {"scans": "", "parts": "large,cores"}
DICE, GIB, FASTER = 0.95, 2.0, 1.7


def convert(source: Path, out: Path, *more: str) -> Spent:
    """Return what a conversion took."""
    command = (sys.executable, "-m", "yolo_nas_ext", "data", f"source={source}", f"out={out}")
    return measured(*command, "task=segment", *more, quiet=True)


def dice(source: Path, work: Path) -> tuple[int, np.ndarray]:
    """Return the exit code of a conversion, and Dice of every class in every written slice."""
    out, link = work / "out", work / "link.csv"
    code, *_ = convert(source, out, f"linkage={link}")
    keys = dict(list(csv.reader(link.read_text("utf-8").splitlines()))[1:])
    found = []
    for entry in find(str(source)).entries:
        if not entry.masks:
            continue
        mask = labels(entry.masks[0])
        for file in (out / "labels").glob(f"*/{keys[entry.name]}_*.txt"):
            truth = mask.plane(2, int(file.stem[-4:]))
            drawn = np.zeros(truth.shape, int)
            for line in file.read_text("utf-8").splitlines():
                label, *points = line.split()
                size = truth.shape[::-1]
                polygon = np.array(points, float).reshape(-1, 2) * size
                drawn[fill(polygon, truth.shape)] = int(label) + 1
            for value in np.unique(truth[truth > 0]):
                a, b = drawn == value, truth == value
                found.append(2 * (a & b).sum() / (a.sum() + b.sum()))
    return code, np.array(found)


def large(work: Path, kind: str) -> Figures:
    """Return time and memory of a conversion of 512 x 512 x 800 voxels."""
    rng = np.random.default_rng(0)
    source = work / kind
    shape = (512, 512, 800)
    slab = rng.integers(-1000, 1000, (*shape[:2], 8), dtype=np.int16)
    mask = np.zeros(shape, np.uint8)
    mask[100:200, 200:300, 100:300], mask[300:350, 300:350, 400:500] = 1, 2
    image = np.tile(slab, (1, 1, 100)).astype(kind)
    nib.openers.Opener.default_compresslevel = 1
    for folder, array in (("images", image), ("labels", mask)):
        (source / folder).mkdir(parents=True)
        nib.save(nib.Nifti1Image(array, np.diag([0.7, 0.7, 1.5, 1])), source / folder / "a.nii.gz")
    del image, mask
    code, seconds, _, peak = convert(source, work / f"out_{kind}", "window=abdomen")
    gib = round(peak / 2**10, 3)
    return {"exit_code": code, "seconds": round(seconds, 1), "peak_gib": gib}


def cores(work: Path) -> Figures:
    """Return what the conversion of sixteen volumes takes by one process and by two."""
    rng = np.random.default_rng(0)
    source, shape = work / "sixteen", (256, 256, 120)
    for folder in ("images", "labels"):
        (source / folder).mkdir(parents=True)
    for number in range(16):
        image = rng.integers(-1000, 1000, shape, dtype=np.int16)
        mask = np.zeros(shape, np.uint8)
        mask[100:160, 100 + number : 150, 20:100] = 1
        for folder, array in (("images", image), ("labels", mask)):
            nib.save(nib.Nifti1Image(array, np.eye(4)), source / folder / f"{number}.nii.gz")
    one, two = (convert(source, work / f"by{n}", f"jobs={n}") for n in (1, 2))
    return {
        "exit_code": max(one.code, two.code),
        "seconds": [round(one.seconds, 1), round(two.seconds, 1)],
        "cpu_seconds": [round(one.cpu_seconds, 1), round(two.cpu_seconds, 1)],
        "faster": round(one.seconds / two.seconds, 2),
        "at_most": round(2 * one.cpu_seconds / two.cpu_seconds, 2),
    }


def main(given: dict[str, Any]) -> Figures:
    """Print the table and return the figures."""
    figures: Figures = {}
    met: dict[str, bool] = {}
    with tempfile.TemporaryDirectory() as folder:
        if given["scans"]:
            code, found = dice(located(str(given["scans"])), Path(folder))
            average, least = float(found.mean()), float(found.min())
            figures["dice"] = {
                "exit_code": code,
                "masks": len(found),
                "mean": round(average, 5),
                "least": round(least, 5),
            }
            print(f"Dice of {len(found)} masks: mean {average:.5f}, least {least:.5f}\n")
            met[f"Dice of {DICE} on average"] = average >= DICE
        table = Table("voxels ", "seconds", "GiB   ")
        parts = names(given["parts"])
        for kind in ("int16", "float64") * ("large" in parts):
            figures[kind] = seen = large(Path(folder), kind)
            table.row(kind, seen["seconds"], seen["peak_gib"])
            met[f"{kind} converted below {GIB} GiB"] = (
                seen["exit_code"] == 0 and seen["peak_gib"] < GIB
            )
        if "cores" in parts:
            figures["cores"] = seen = cores(Path(folder))
            print(f"\ntwo processes: {seen['faster']} times as fast, at most {seen['at_most']}")
            met[f"two processes {FASTER} times as fast"] = seen["faster"] >= FASTER
    return {**figures, "pass": targets(met)}


if __name__ == "__main__":
    start(main, KEYS)
