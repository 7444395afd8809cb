"""The reference sets of searches from trained weights: networks fine-tuned in full from a parent.

    python benchmarks/reference_tuned.py set=brain
    python benchmarks/reference_tuned.py set=pcb
    python benchmarks/reference_tuned.py set=raccoon192 space=parent     # small enough for an hour
    python benchmarks/reference_tuned.py set=pcb192 space=parent

Half of the networks are of `space=parent`: the parent, its pencils, and points with two to twelve
changes; the others are of `space=yolo`. All have at most 1.2 times the parent's FLOPs. Each is
fine-tuned from YOLO11n's COCO weights for 20 epochs on all of train, by the recipe of a search's
finals, and measured after the last epoch on val. Seed 0 comes for all, then seed 1 for half. The
order is drawn, so that a part of the set is spread like the whole.

`results/reference/<set>_tuned.json` holds the settings and networks, `<set>_tuned.jsonl` a row a
training, written whole and at once; run the command again to go on. The last line is a JSON object;
`pass` is whether every training is there.
"""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace
from typing import Any

from lib import RESULTS, SHARED, Figures, Rows, machine, names, start

from yolo_nas_ext.cost.budget import Budget
from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.estimators.training import UntouchedFineTuning
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.host.transfer.weights import load
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.space.parent import ParentSpace
from yolo_nas_ext.space.pencils import pencils

FOLDER = RESULTS / "reference"
KEYS = {"set": "brain", "most": 0, "space": "parent,yolo"}
PARENT = SHARED / "yolo11n_coco" / "yolo11n.pt"
SETS: dict[str, dict[str, Any]] = {
    "brain": {"data": "brain_tumor", "sizes": [160, 128, 192, 224]},
    "pcb": {"data": "pcb_defects", "sizes": [320, 256, 384, 448]},
    "pcb192": {"data": "pcb_defects", "sizes": [192, 160, 224, 256]},
    "raccoon192": {"data": "raccoon", "sizes": [192, 160, 224, 256]},
}
EPOCHS, NETWORKS, LARGEST = 20, 24, 1.2


def main(given: dict[str, Any]) -> Figures:
    """Train what is missing, print the rows and return the figures."""
    name, most = str(given["set"]), int(given["most"])
    file = FOLDER / f"{name}_tuned.json"
    if not file.is_file():
        rows = ",\n".join(map(json.dumps, chosen(**SETS[name])))
        file.write_text(f"[\n{rows}\n]\n", encoding="utf-8")
    networks = json.loads(file.read_text(encoding="utf-8"))
    networks = [n for n in networks if n["space"] in names(given["space"])]
    rows = Rows(FOLDER / f"{name}_tuned.jsonl")
    have = {(row["key"], row["seed"]) for row in rows}
    everything = [(n, 0) for n in networks] + [(n, 1) for n in networks[: len(networks) // 2]]
    todo = [(n, seed) for n, seed in everything if (n["key"], seed) not in have]
    source = SHARED / SETS[name]["data"]
    train, val = read(source), read(source, part="val")
    for network, seed in todo[: most or None]:
        row = rows.keep(tuned(network, seed, train, val, SETS[name]["sizes"][0]))
        print(json.dumps({k: row[k] for k in ("name", "key", "seed", "map50_95", "seconds")}))
    return {"set": name, "trainings": len(rows), **machine(), "pass": len(rows) >= len(everything)}


def tuned(network: dict[str, Any], seed: int, train: Any, val: Any, imgsz: int) -> dict[str, Any]:
    """Return the row of a fine-tuning."""
    architecture = Architecture.from_dict(network["architecture"])
    tuning = UntouchedFineTuning(
        train, val, inherit=PARENT, epochs=EPOCHS, imgsz=imgsz, batch=16, seed=seed, threads=1
    )
    begin, used = time.perf_counter(), time.process_time()
    metrics = tuning.estimate(architecture)
    return {
        **{name: network[name] for name in ("name", "space", "key", "flops", "params")},
        "seed": seed,
        **{name: metrics[name] for name in ("map50_95", "map50", "inherited_percent")},
        "seconds": round(time.perf_counter() - begin),
        "cpu_seconds": round(time.process_time() - used),
    }


def chosen(data: str, sizes: list[int]) -> list[dict[str, Any]]:
    """Return the networks of both spaces in a drawn order, the parent first."""
    nc = read(SHARED / data).nc
    parent = replace(load(PARENT).architecture, imgsz=sizes[0])

    def flops(network: Architecture) -> float:
        return costs(network, nc, network.imgsz).flops

    limit = flops(parent)
    budget = Budget({"max_flops": LARGEST * limit}, nc, sizes[0])
    near = ParentSpace(parent, sizes=sizes).within(budget)
    found = {parent.key: (parent, "yolo11n", "parent")}
    for name, network in pencils(parent, near, flops, limit).items():
        found.setdefault(network.key, (network, name, "parent"))
    rng = random.Random(0)
    while len(found) < NETWORKS:
        network = near.architecture(changed(near, parent, rng))
        if network.levels and flops(network) > 0.25 * limit:
            found.setdefault(network.key, (network, "", "parent"))
    other = DetectorSpace.load("yolo", sizes=sizes).within(budget)
    while len(found) < 2 * NETWORKS:
        network = other.architecture(other.sample(rng))
        if flops(network) > 0.25 * limit:
            found.setdefault(network.key, (network, "", "yolo"))
    first, *rest = found.values()
    rng.shuffle(rest)
    return [
        {
            "name": name,
            "space": space,
            "key": network.key,
            "flops": flops(network),
            "params": costs(network, nc, network.imgsz).params,
            "architecture": network.to_dict(),
        }
        for network, name, space in (first, *rest)
    ]


def changed(space: ParentSpace, parent: Architecture, rng: random.Random) -> Any:
    """Return a point of a space with two to twelve changes of the parent."""
    while True:
        point = dict(space.point_of(parent))
        for _ in range(rng.randint(2, 12)):
            name = rng.choice(space.active(point))
            point[name] = rng.choice(space.choices[name])
        if space.feasible(found := space.canonical(point)):
            return found


if __name__ == "__main__":
    start(main, KEYS)
