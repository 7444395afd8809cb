"""A reference set as a tabular benchmark that the package ships: `cfg/tables/<set>.json`.

    python benchmarks/reference_table.py [set=brain]

Fitness of a network is the mean over its seeds. A network is described by what sets it apart: the
space it was drawn from, its levels, its head, its most frequent block, depth and width. Prints
the networks; the last line is a JSON object; `pass` is whether every network of the set is there.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import reference
from lib import ROOT, Figures, Table, start

from yolo_nas_ext.network.architecture import Architecture

KEYS = {"set": "brain"}
TABLES = ROOT / "cfg" / "tables"


def main(given: dict[str, Any]) -> Figures:
    """Write the table of a set, print it and return the figures."""
    name = str(given["set"])
    plan = reference.plan_of(name)
    found: dict[str, list[float]] = {}
    for row in reference.trainings(name):
        if row["metrics"]:
            found.setdefault(row["key"], []).append(row["metrics"]["fitness"])
    rows, used = [], Counter()
    table = Table("network   ", "fitness", "seeds", "described by")
    for network in plan["networks"]:
        if network["key"] in found:
            point = describe(Architecture.from_dict(network["architecture"]))
            point["space"] = network["space"] or "host"
            point["variant"] = used[json.dumps(point)]  # where all else is alike
            used[json.dumps({n: v for n, v in point.items() if n != "variant"})] += 1
            seeds = found[network["key"]]
            fitness = round(math.fsum(seeds) / len(seeds), 5)
            cost = {cost: network[cost] for cost in ("params", "flops")}
            metrics = {"fitness": fitness, "seeds": len(seeds)}
            rows.append({"point": point, "metrics": metrics, "cost": cost})
            described = " ".join(str(value) for value in point.values())
            table.row(network["key"], f"{fitness:.5f}", len(seeds), described)
    settings = plan["settings"]
    about = (
        f"{len(rows)} detectors, {settings['epochs']} epochs of Ultralytics' schedule on "
        f"{settings['images']} images of {settings['imgsz']} px; mAP50-95 on all others"
    )
    TABLES.mkdir(exist_ok=True)
    file = TABLES / f"{name}.json"
    lines = ",\n".join(json.dumps(row) for row in rows)
    file.write_text(f'{{"about": {json.dumps(about)}, "rows": [\n{lines}\n]}}\n', encoding="utf-8")
    return {"file": file.name, "about": about, "pass": len(rows) == len(plan["networks"])}


def describe(architecture: Architecture) -> dict[str, Any]:
    """Return what sets a network apart from others, in a few choices."""
    head, levels = architecture.head, architecture.neck.levels
    blocks = [b for b in architecture.backbone if b.stride == 1 and b.kind not in CONTEXT]
    widths = [b.width for b in blocks]
    return {
        "levels": f"P{levels[0]}-P{levels[-1]}",
        "head": ("end-to-end " if head.end2end else "") + f"{head.reg_max} bins",
        "block": Counter(b.kind for b in blocks).most_common(1)[0][0],
        "depth": sum(b.depth for b in blocks),
        "width": 2 ** round(math.log2(math.fsum(widths) / len(widths))),
    }


CONTEXT = ("sppf", "c2psa")

if __name__ == "__main__":
    start(main, KEYS)
