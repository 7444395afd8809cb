"""Planted truths in the YOLO loop: is the option found that is best by construction?

    python benchmarks/planted.py [seeds=10] [tasks=levels,block,shuffled] [how=darts,evolution]
        [out=benchmarks/results/planted.jsonl]

Images of 64 px with squares of 5 px, a dozen of them, in noise. A supernet of a small space is
trained on 48 of them, by Ultralytics' trainer and loss, with DARTS or with evolution on top, and 24
are held out.

- `levels`: P2-P3, P3-P4 or P4-P5. A place of P4 is 16 px wide and holds several of the squares.
- `block`: at P2, the finest level there is, the block computes, averages over 9 x 9 places, or
  outputs zeros; so nothing but the first sees where the squares are. P3 has the same options.
- `shuffled`: the same, with the labels of other images and one block in the neck, as that decides
  which head Ultralytics builds: there is nothing to find.

DARTS (`darts`; `gates` and `continuous` are its other relaxations) finds the truth if its
distribution has it as likeliest option and the best of what is drawn from it has it; it rejects
zeros if their probability is at most half of the uniform one's. Evolution finds it if its best
network has it. With shuffled labels the entropy of every choice has to stay above 0.9 of the
uniform one's.

A line a search goes to `out`; what is there is not run again. The last line is a JSON object;
`pass` is whether at least 9 of 10 seeds of every search are right.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import mean, median
from typing import Any

import cv2
import numpy as np
import yaml
from lib import RESULTS, Figures, Rows, Table, names, start, targets

from yolo_nas_ext.estimators.weight_sharing import SharedWeights
from yolo_nas_ext.host.dataset import DataSet, read
from yolo_nas_ext.loop import run
from yolo_nas_ext.network.architecture import Block
from yolo_nas_ext.network.block_rows import BlockType, ChainRow
from yolo_nas_ext.network.blocks import BLOCKS
from yolo_nas_ext.network.modules import MODULES
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.space.parse import parse
from yolo_nas_ext.space.supernet.distribution import entropy
from yolo_nas_ext.strategies.darts import Darts
from yolo_nas_ext.strategies.evolution import Evolution
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

KEYS = {
    "seeds": 10,
    "tasks": "levels,block,shuffled",
    "how": "darts,evolution",
    "out": RESULTS / "planted.jsonl",
}
PIXELS, SQUARE, OBJECTS, IMAGES = 64, 5, 12, 72
EPOCHS, BATCH, TRIALS = 40, 4, 12
SURE, FLAT, SHARE = 0.5, 0.9, 0.9  # of the uniform probability and entropy; of the seeds
BASE: dict[str, Any] = {
    "stem": {"width": 8},
    "stages": {
        "p2": {"block": "c2f", "width": [8, 16]},
        "p3": {"block": "c2f", "width": [16, 24]},
        "p4": {"block": "c2f", "width": [24, 32]},
        "p5": {"block": "c2f", "width": 32},
    },
    "levels": "2-3",
    "neck": {"block": ["c2f", "c3k2"], "width": 16, "growth": 1},
    "head": {"reg_max": 1},
}
TRUTH = {"levels": {"levels": "2-3"}, "block": {"p2.block": "c2f"}, "shuffled": {}}
PLANTED: dict[str, tuple[str, tuple[Any, ...]]] = {
    "zero": ("nn.Threshold", (1e9, 0.0)),
    "blur": ("nn.AvgPool2d", (9, 1, 4)),
}


def plant() -> None:
    """Add the blocks that are of no use to the catalogue: a 1x1 convolution, then their module."""

    def rows(kind: str) -> Any:
        def of(block: Block) -> list[ChainRow]:
            return [(1, "Conv", (block.width, 1, 1)), (1, *PLANTED[kind])]

        return of

    for kind, (module, _) in PLANTED.items():
        BLOCKS[kind] = BlockType(
            rows(kind), lambda chain: None, about="of no use", bottleneck=False, deep=False
        )
        MODULES[module] = lambda graph, x, n, *args: x


def space_of(task: str) -> DetectorSpace:
    """Return the space of a task, in which one option is best by construction."""
    file = parse(BASE, task, "planted")
    choices = dict(file.choices)
    if task == "levels":
        choices["levels"] = ("4-5", "3-4", "2-3")
    else:
        choices["p2.block"] = choices["p3.block"] = (*PLANTED, "c2f")
    if task == "shuffled":  # of which one head learns sooner where squares usually are
        choices["neck.block"] = ("c2f",)
    return DetectorSpace(replace(file, choices=choices))


def draw(folder: Path, seed: int, shuffled: bool) -> DataSet:
    """Draw images with squares in noise, their labels those of other images if shuffled."""
    rng = np.random.default_rng(seed)
    labels, where = [], rng.permutation(IMAGES) if shuffled else np.arange(IMAGES)
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    places = PIXELS // 8
    for index in range(IMAGES):
        image = rng.integers(0, 60, (PIXELS, PIXELS, 3), dtype=np.uint8)
        lines = []
        for cell in rng.choice(places * places, OBJECTS, replace=False):
            x, y = 8 * (cell % places) + rng.integers(3), 8 * (cell // places) + rng.integers(3)
            image[y : y + SQUARE, x : x + SQUARE] = rng.integers(200, 256, 3)
            middle = [(v + SQUARE / 2) / PIXELS for v in (x, y)]
            lines.append(" ".join(map(str, ["0", *middle, *[SQUARE / PIXELS] * 2])))
        cv2.imwrite(str(folder / "images" / f"{index:03}.png"), image)
        labels.append("\n".join(lines))
    for index, other in enumerate(where):
        (folder / "labels" / f"{index:03}.txt").write_text(labels[other])
    content = {"train": "images", "val": "images", "names": {0: "square"}}
    path = folder / "data.yaml"
    path.write_text(yaml.safe_dump({"path": str(folder), **content}))
    return read(path)


def search(task: str, how: str, seed: int, **more: Any) -> dict[str, Any]:
    """Return what a search has found.

    Args:
        task: A key of `TRUTH`.
        how: ``darts``, ``gates``, ``continuous`` or ``evolution``.
        seed: Of the images, the supernet and the proposals.
        **more: Arguments of the estimator.
    """
    begin = time.process_time()
    space, truth = space_of(task), TRUTH[task]
    with tempfile.TemporaryDirectory() as folder:
        data = draw(Path(folder) / "data", seed, task == "shuffled")
        settings = {
            "epochs": EPOCHS,
            "imgsz": PIXELS,
            "batch": BATCH,
            "seed": seed,
            "threads": 1,
            "val_fraction": 1 / 3,
            "device": "cpu",
            "say": lambda line: None,
            "overrides": {"workers": 0},
            "learn": how != "evolution",
            "relaxation": how if how in ("gates", "continuous") else "single",
        }
        estimator = SharedWeights(data, space, **{**settings, **more})
        learned = how != "evolution"
        strategy = Darts(space, learned=estimator.distribution) if learned else Evolution(space)
        study = Study(space)

        def estimate(trial: Trial, report: Any) -> Mapping[str, float]:
            return estimator.estimate(trial.network)

        run(study, strategy, estimate, trials=TRIALS, seed=seed)
        row: dict[str, Any] = {"task": task, "how": how, "seed": seed}
        best = study.best.point
        row["best"] = {name: best[name] for name in space.choices if len(space.choices[name]) > 1}
        row["fitness"] = study.best.fitness
        right = all(best[name] == option for name, option in truth.items())
        if learned:
            found = estimator.distribution()
            row |= {"probabilities": found, "right": right and _learned(space, truth, found)}
            if not truth:
                row["right"] = min(entropy(found).values()) >= FLAT
            elif task == "block":
                zero = found["p2.block"][space.choices["p2.block"].index("zero")]
                row["rejected"] = zero <= SURE / len(found["p2.block"])
        else:
            row["right"] = right
        estimator.close()
    return {**row, "seconds": round(time.process_time() - begin, 1)}


def _learned(space: DetectorSpace, truth: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Say whether the likeliest options are the planted ones."""
    return all(
        space.choices[name][found[name].index(max(found[name]))] == option
        for name, option in truth.items()
    )


def main(given: dict[str, Any]) -> Figures:
    """Run what is missing, print the table and return the figures."""
    plant()
    kept = Rows(given["out"])
    rows = {(r["task"], r["how"], r["seed"]): r for r in kept}
    wanted = [
        (task, how, seed)
        for seed, task, how in itertools.product(
            range(int(given["seeds"])), names(given["tasks"]), names(given["how"])
        )
        if task != "shuffled" or how != "evolution"  # which has no distribution
    ]
    for key in wanted:
        if key not in rows:
            rows[key] = kept.keep(search(*key))
            print(f"{' '.join(map(str, key))}: {rows[key]['right']}", flush=True)
    table = Table("task    ", "by       ", "right   ", "zeros rejected", "seconds of one core")
    found: dict[str, float] = {}
    for task, how in dict.fromkeys(key[:2] for key in wanted):
        mine = [rows[key] for key in wanted if key[:2] == (task, how)]
        found[f"{task} {how}"] = mean(row["right"] for row in mine)
        zeros = [row["rejected"] for row in mine if "rejected" in row]
        if zeros:
            found["zeros"] = mean(zeros)
        right = f"{sum(row['right'] for row in mine)} of {len(mine)}"
        rejected = f"{sum(zeros)} of {len(zeros)}" if zeros else ""
        table.row(task, how, right, rejected, f"{median(r['seconds'] for r in mine):.0f}")
    met = {name: share >= SHARE for name, share in found.items()}
    return {"shares": found, "met": met, "pass": targets(met)}


if __name__ == "__main__":
    start(main, KEYS)
