"""The inner search in DAMO-YOLO-S's setting: candidates a second, spread of the best, memory.

    python benchmarks/zero_cost.py [runs=10] [trials=500000] [long=5000000]

The space is `damo_small.yaml`, the limits 25 layers and the FLOPs of the published backbone L25 at
640 px. A candidate is a mutation that the space's rules allow, its costs, the check of the budget
and its score. Each run uses one core; CPU time is given beside wall time, as a shared machine makes
the latter longer. The long run is a process of its own, for its peak of memory. The last line is a
JSON object; `pass` is at least 25,000 candidates a second of CPU time, `trials` in at most 20 s of
it, every best within 1 % of the best of all runs, and the long run below 1 GiB and no more than 1.2
times the time a candidate.
"""

from __future__ import annotations

import resource
import time
from pathlib import Path
from statistics import median
from typing import Any

from lib import Figures, Table, alone, machine, start, targets

from yolo_nas_ext.cost.budget import Budget
from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.files import resource as shipped
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.vectorized.evolution import evolve

KEYS = {"runs": 10, "trials": 500_000, "long": 5_000_000}
RATE, SECONDS, WORSE, MOST, SLOWER = 25_000, 20.0, 0.01, 2**10, 1.2


def run(trials: int, seed: int) -> dict[str, Any]:
    """Return the best score, seconds and counts of one search."""
    flops = costs(read(shipped("cfg", "backbones", "damo-l25.yaml")), 80, 640).flops
    budget = Budget({"max_flops": flops, "max_layers": 25}, 80, 640)
    space = DetectorSpace.load(Path(__file__).with_name("damo_small.yaml")).within(budget)
    begin, cpu = time.perf_counter(), time.process_time()
    found = evolve(space, budget, trials=trials, seed=seed)
    return {
        "best": found.population[0].score,
        "key": found.population[0].architecture.key,
        "cpu_seconds": time.process_time() - cpu,
        "seconds": time.perf_counter() - begin,
        "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        **found.counts,
    }


def main(given: dict[str, Any]) -> Figures:
    """Print the table and return the figures."""
    table = Table("seed", "best score  ", "CPU s ", "wall s", "candidates/s (CPU)")
    rows = []
    for seed in range(given["runs"]):
        row = run(given["trials"], seed)
        rows.append(row)
        seconds = (f"{row[kind]:.1f}" for kind in ("cpu_seconds", "seconds"))
        rate = row["evaluated"] / row["cpu_seconds"]
        table.row(seed, f"{row['best']:.4f}", *seconds, f"{rate:,.0f}")
    long = alone(run, given["long"], 0)
    each = long["cpu_seconds"] / long["evaluated"]
    usual = median(row["cpu_seconds"] / row["evaluated"] for row in rows)
    print(
        f"\n{long['evaluated']:,} candidates: {long['cpu_seconds']:.1f} s of CPU time, "
        f"{each / usual:.2f} times the time a candidate of the short runs, {long['mib']:.0f} MiB"
    )
    bests = [row["best"] for row in rows]
    figures = {
        **machine(),
        "runs": len(rows),
        "candidates_per_cpu_second": 1 / usual,
        "most_cpu_seconds": max(row["cpu_seconds"] for row in rows),
        "most_wall_seconds": max(row["seconds"] for row in rows),
        "best": max(bests),
        "worst_best": min(bests),
        "worst_shortfall": 1 - min(bests) / max(bests),
        "long_candidates": long["evaluated"],
        "long_cpu_seconds": long["cpu_seconds"],
        "long_time_ratio": each / usual,
        "long_mib": long["mib"],
    }
    met = {
        f"{RATE:,} candidates a second": figures["candidates_per_cpu_second"] >= RATE,
        f"at most {SECONDS:g} s a run": figures["most_cpu_seconds"] <= SECONDS,
        f"every best within {WORSE:.0%}": figures["worst_shortfall"] <= WORSE,
        f"the long run below {MOST} MiB": long["mib"] < MOST,
        f"and {SLOWER} times the time": figures["long_time_ratio"] <= SLOWER,
    }
    return {**figures, "pass": targets(met)}


if __name__ == "__main__":
    start(main, KEYS)
