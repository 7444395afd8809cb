"""What do other levels and image sizes give at one cost, where widths are cut evenly to keep it?

    python benchmarks/shapes.py [set=brain] [share=1] [seeds=1]

YOLO11n with COCO weights is the parent. Of each set of levels and each image size one network is
made: with all widths of the parent, or with as much of each as keeps the parent's FLOPs at the
usual size, times `share`. It is fine-tuned for 20 epochs on all of train, by the recipe of a
search's finals, and measured after the last epoch on val. Such networks are further from the parent
than any few changes of single widths, and the search is not built to propose them.

`results/shapes.jsonl` keeps a row a training; run it again to go on. The last line is a JSON
object; `pass` is whether every training is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from lib import RESULTS, SHARED, Figures, Rows, Table, machine, start
from reference_tuned import PARENT, SETS, tuned

from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.host.transfer.weights import load
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.space.parent import GONE, LAST, ParentSpace
from yolo_nas_ext.space.pencils import cut_evenly

KEYS = {"set": "brain", "share": 1.0, "seeds": 1}
WITHIN = 1.03  # of the limit: widths come in steps of 8
NARROWEST = 0.5  # of the parent's widths; narrower ones keep little of its weights


def main(given: dict[str, Any]) -> Figures:
    """Train what is missing, print the table and return the figures."""
    name, share = str(given["set"]), float(given["share"])
    source = SHARED / SETS[name]["data"]
    train, val = read(source), read(source, part="val")
    rows = Rows(RESULTS / "shapes.jsonl")
    have = {(row["set"], row["key"], row["seed"]) for row in rows}
    missing = False
    for network in shapes(train.nc, SETS[name]["sizes"], share):
        for seed in range(int(given["seeds"])):
            if (name, network["key"], seed) not in have:
                done = tuned(network, seed, train, val, SETS[name]["sizes"][0])
                kept = {key: network[key] for key in ("levels", "imgsz", "widths")}
                rows.keep({"set": name, **kept, **done})
    table = Table("levels", "image size", "widths", "GFLOPs", "parameters", "seeds", "mAP50-95")
    limit = max(row["flops"] for row in rows if row["set"] == name)
    for network in shapes(train.nc, SETS[name]["sizes"], share):
        own = [r for r in rows if r["set"] == name and r["key"] == network["key"]]
        missing |= not own
        mean = sum(row["map50_95"] for row in own) / len(own) if own else float("nan")
        table.row(
            network["levels"],
            network["imgsz"],
            f"{network['widths']:g}",
            f"{network['flops'] / 1e9:.3f}",
            f"{network['params'] / 1e6:.2f}M",
            len(own),
            f"{mean:.4f}",
        )
    return {"set": name, "flops": limit, **machine(), "pass": not missing}


def shapes(nc: int, sizes: list[int], share: float) -> Iterator[dict[str, Any]]:
    """Yield the networks, the parent's levels first and sizes ascending."""
    usual = sizes[0]
    parent = replace(load(PARENT).architecture, imgsz=usual)

    def flops(network: Architecture) -> float:
        return costs(network, nc, network.imgsz).flops

    limit = flops(parent) * share * WITHIN
    space = ParentSpace(parent, sizes=[*sizes, max(sizes) + 32])
    for levels in space.choices["levels"]:
        for size in sorted(space.choices["imgsz"]):
            point = {**space.origin, "levels": levels, "imgsz": size, LAST: GONE}
            network, widths = space.architecture(space.canonical(point)), 1.0
            if flops(network) > limit:
                found = cut_evenly(network, lambda cut: flops(cut) <= limit)
                if not found or found[0] < NARROWEST:
                    continue
                widths, network = found
            yield {
                "name": f"{levels} at {size} px, {widths:g} of all widths",
                "space": "shapes",
                "levels": levels,
                "imgsz": size,
                "widths": widths,
                "key": network.key,
                "flops": flops(network),
                "params": costs(network, nc, network.imgsz).params,
                "architecture": network.to_dict(),
            }


if __name__ == "__main__":
    start(main, KEYS)
