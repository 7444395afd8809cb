"""What do scores give on data that their constants were not chosen on?

    python benchmarks/constants.py

Two scores have constants that were chosen on the reference sets that they are judged on
(`estimators.py`): the projection of short trainings its power of FLOPs and what is added to the
mAP, and `resolved` the cells that an object needs. Here the constants that order one set best are
judged on the other, beside those that are shipped. Equally good ones are taken in their order.

The last line is a JSON object; `pass` is whether what is shipped is at most 0.05 above the tau of
constants chosen on the other set, in the mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from statistics import mean
from typing import Any

import reference
from estimators import OTHER, Truth, tau
from lib import Figures, Rows, Table, start, targets

from yolo_nas_ext.estimators import extrapolation
from yolo_nas_ext.estimators.zero_cost.resolved import CELLS, resolved, side_of
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.network.architecture import Architecture

POWERS = [round(0.1 * i, 1) for i in range(13)]
LEASTS = [0.0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12]
SIDES = [0.7, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.5, 3.0, 4.0]  # cells a side that an object needs
SHORT = "short"
FLATTERED = 0.05
Constants = tuple[float, ...]


def main(given: dict[str, Any]) -> Figures:
    """Print the table and return the figures."""
    del given
    scores = {
        "projected: power, added": (
            {name: projections(name) for name in OTHER},
            (extrapolation.POWER, extrapolation.LEAST),
        ),
        "resolved: cells a side": (
            {name: resolutions(name) for name in OTHER},
            (math.sqrt(CELLS),),
        ),
    }
    table = Table(
        f"{'score: constants':<24}",
        "set  ",
        "shipped     ",
        "tau  ",
        "chosen on the other",
        "tau  ",
        "best here   ",
        "tau  ",
    )
    figures: Figures = {}
    met: dict[str, bool | None] = {}
    for score, (by_set, shipped) in scores.items():
        excess = []
        for name, other in OTHER.items():
            own = by_set[name]
            chosen, best = (max(found, key=lambda c: found[c]) for found in (by_set[other], own))
            cells = (cell for c in (shipped, chosen, best) for cell in (said(c), f"{own[c]:.2f}"))
            table.row(score, name, *cells)
            excess.append(own[shipped] - own[chosen])
            figures[f"{score}, {name}"] = {
                "shipped": own[shipped],
                "chosen": [*chosen],
                "tau": own[chosen],
                "best": own[best],
            }
        met[f"{score}: flattered by {mean(excess):+.3f}"] = mean(excess) <= FLATTERED
    return {**figures, "pass": targets(met)}


def said(constants: Constants) -> str:
    """Return constants as a cell."""
    return ", ".join(f"{value:g}" for value in constants)


def projections(name: str) -> dict[Constants, float]:
    """Return tau of the short training of a set, projected, by power and what is added."""
    networks, fitness, plan = truth(name)
    rows = Rows(reference.FOLDER / f"{name}.estimates.jsonl")
    short = {row["key"]: row["metrics"] for row in rows if row["estimator"] == SHORT}
    keys = [key for key in networks if short.get(key)]
    imgsz = plan["settings"]["imgsz"]
    # With the power 1 and nothing added, 1 is projected to the ratio of FLOPs.
    before = extrapolation.POWER, extrapolation.LEAST
    try:
        extrapolation.POWER, extrapolation.LEAST = 1.0, 0.0
        ratios = [extrapolation.projected(1.0, networks[key], 3, imgsz) for key in keys]
    finally:
        extrapolation.POWER, extrapolation.LEAST = before
    measured = [short[key]["map50_95"] for key in keys]
    found = {}
    for power, least in product(POWERS, LEASTS):
        values = [(m + least) * r**power for m, r in zip(measured, ratios, strict=True)]
        found[power, least] = tau(values, [fitness[key] for key in keys])
    return found


def resolutions(name: str) -> dict[Constants, float]:
    """Return tau of `resolved` on a set, by the cells a side that an object needs."""
    networks, fitness, plan = truth(name)
    side = side_of(read(plan["settings"]["data"])) or math.nan
    imgsz = plan["settings"]["imgsz"]
    found = {}
    for cells in SIDES:
        seen = side * math.sqrt(CELLS) / cells  # an object so much smaller needs as many cells more
        values = [resolved(network, seen, 3, imgsz) for network in networks.values()]
        found[(cells,)] = tau(values, [fitness[key] for key in networks])
    return found


def truth(name: str) -> tuple[Mapping[str, Architecture], Mapping[str, float], Mapping[str, Any]]:
    """Return the networks of a set, their fitness in full, and the set's plan."""
    plan, found = reference.plan_of(name), Truth(reference.trainings(name))
    rows: Sequence[Mapping[str, Any]] = plan["networks"]
    networks = {r["key"]: Architecture.from_dict(r["architecture"]) for r in rows}
    return {key: networks[key] for key in found.keys if key in networks}, found.fitness, plan


if __name__ == "__main__":
    start(main, {})
