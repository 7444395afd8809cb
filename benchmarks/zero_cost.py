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

import json
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from yolo_nas_ext.config.arguments import parse_arguments
from yolo_nas_ext.cost.budget import Budget
from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.files import resource as shipped
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.vectorized.evolution import evolve

RATE, SECONDS, WORSE, MOST, SLOWER = 25_000, 20.0, 0.01, 2**30, 1.2


def run(trials: int, seed: int) -> dict[str, Any]:
    """Return the best score, seconds and counts of one search."""
    flops = costs(read(shipped("cfg", "backbones", "damo-l25.yaml")), 80, 640).flops
    budget = Budget({"max_flops": flops, "max_layers": 25}, 80, 640)
    space = DetectorSpace.load(Path(__file__).with_name("damo_small.yaml")).within(budget)
    begin, cpu = time.perf_counter(), time.process_time()
    found = evolve(space, budget, trials=trials, seed=seed)
    return {
        "best": found.population[0].score, "key": found.population[0].architecture.key,
        "cpu_seconds": time.process_time() - cpu, "seconds": time.perf_counter() - begin,
        "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, **found.counts,
    }  # fmt: skip


def main(arguments: list[str]) -> int:
    """Print the table and the JSON line; returns the exit code."""
    given = {"runs": 10, "trials": 500_000, "long": 5_000_000, **parse_arguments(arguments)}
    if "alone" in given:
        print(json.dumps(run(given["trials"], given["alone"])))
        return 0
    print("seed    best score    CPU s   wall s   candidates/s (CPU)", flush=True)
    rows = []
    for seed in range(given["runs"]):
        row = run(given["trials"], seed)
        rows.append(row)
        rate = row["evaluated"] / row["cpu_seconds"]
        print(
            f"{seed:>4}  {row['best']:>12.4f}  {row['cpu_seconds']:>7.1f}  {row['seconds']:>7.1f}"
            f"  {rate:>12,.0f}", flush=True,
        )  # fmt: skip
    command = [sys.executable, __file__, "alone=0", f"trials={given['long']}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    long = json.loads(done.stdout.splitlines()[-1])
    each = long["cpu_seconds"] / long["evaluated"]
    usual = median(row["cpu_seconds"] / row["evaluated"] for row in rows)
    print(
        f"{long['evaluated']:,} candidates: {long['cpu_seconds']:.1f} s of CPU time, "
        f"{each / usual:.2f} times the time a candidate of the short runs, {long['mib']:.0f} MiB"
    )
    bests = [row["best"] for row in rows]
    figures = {
        "machine": platform.processor() or platform.machine(), "runs": len(rows),
        "candidates_per_cpu_second": 1 / usual,
        "most_cpu_seconds": max(row["cpu_seconds"] for row in rows),
        "most_wall_seconds": max(row["seconds"] for row in rows),
        "best": max(bests), "worst_best": min(bests),
        "worst_shortfall": 1 - min(bests) / max(bests),
        "long_candidates": long["evaluated"], "long_cpu_seconds": long["cpu_seconds"],
        "long_time_ratio": each / usual, "long_mib": long["mib"],
    }  # fmt: skip
    passed = (
        figures["candidates_per_cpu_second"] >= RATE
        and figures["most_cpu_seconds"] <= SECONDS
        and figures["worst_shortfall"] <= WORSE
        and long["mib"] * 2**20 < MOST
        and figures["long_time_ratio"] <= SLOWER
    )
    print(json.dumps({**figures, "pass": passed}))
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
