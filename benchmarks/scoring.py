"""Are a parent's changes ordered by one ridge as by the best of several, and for what time?

    python benchmarks/scoring.py [data=nuclei] [imgsz=160] [epochs=4]

YOLO11n is fine-tuned from COCO's weights. Each of its choices is then taken at its narrowest, and
scored by how far the network's predictions are from the parent's, as `strategy=additive` does: by
one ridge for all layers, what the parent computes being kept. Beside it stands the way of a
transfer: the ridge of each layer is chosen by other images, and the parent is run each time.

The target is a rank correlation of 0.95. The last line is a JSON object with processor seconds.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from lib import SHARED, Figures, Table, machine, start, targets
from scipy.stats import spearmanr

from yolo_nas_ext.estimators.training import FineTuning
from yolo_nas_ext.estimators.zero_cost.carried import apart_from, for_scores
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.host.transfer.weights import Source, load
from yolo_nas_ext.space.parent import ParentSpace

KEYS = {"data": "nuclei", "imgsz": 160, "epochs": 4}
ALIKE = 0.95


def main(given: dict[str, Any]) -> Figures:
    """Print what was measured and return the figures."""
    imgsz = int(given["imgsz"])
    data = read(str(given["data"]))
    weights = SHARED / "yolo11n_coco" / "yolo11n.pt"
    tuning = FineTuning(
        data, inherit=weights, epochs=int(given["epochs"]), imgsz=imgsz, threads=1, device="cpu"
    )
    parent = replace(load(weights).architecture, imgsz=imgsz)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "parent.pt"
        tuning.estimate(parent, weights=file)
        scored = for_scores(tuning.prepared(load(file)))
    space = ParentSpace(parent, "detect", sizes=(imgsz,))
    own = space.origin
    changes = [
        space.architecture(space.canonical({**own, name: min(options)}))
        for name, options in space.choices.items()
        if isinstance(own[name], int) and min(options) < own[name]
    ]
    ways = {
        "as a transfer": replace(scored, memory=None),
        "as a score": scored,
    }
    table = Table("way          ", "processor s a change")
    scores, seconds = {}, {}
    for way, source in ways.items():
        scores[way], seconds[way] = _scored(source, changes)
        table.row(way, f"{seconds[way]:.2f}")
    rank = float(spearmanr(*scores.values())[0])  # pyright: ignore[reportArgumentType]
    met = {f"rank correlation of {len(changes)} changes: {rank:.3f}": rank >= ALIKE}
    return {**given, "seconds": seconds, "rank": rank, **machine(), "pass": targets(met)}


def _scored(source: Source, changes: list[Any]) -> tuple[list[float], float]:
    """Return the distances of networks from a source, and processor seconds of one."""
    apart_from(changes[0], source)  # what is made once
    begin = time.process_time()
    found = [apart_from(network, source)[0] for network in changes]
    return found, (time.process_time() - begin) / len(changes)


if __name__ == "__main__":
    start(main, KEYS)
