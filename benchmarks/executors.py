"""Executors on an estimator that sleeps: speed of four workers, and a Ray node that is lost.

    python benchmarks/executors.py [seconds=1.0] [trials=24]

1. Time a trial with one and with four workers, as worker processes and as Ray tasks; starting them
   is not counted. The target is 90 % of four times the speed.
2. A search on a Ray cluster of two nodes, one of which is removed after a third of the trials:
   every trial has to end, no point may come twice.
3. The same search in this process and by one Ray worker has to propose the same points.

The last line is a JSON object; `pass` is whether all of it holds.
"""

from __future__ import annotations

import math
import os
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ray
from lib import Figures, Table, start, targets
from ray.cluster_utils import Cluster

from yolo_nas_ext import ChoiceSpace, search

KEYS = {"seconds": 1.0, "trials": 24}
SPACE = ChoiceSpace({f"l{i}": (0, 1, 2) for i in range(4)})
WORKERS, TARGET = 4, 0.9
RANDOM: dict[str, Any] = {"strategy": "random", "seed": 1}


def main(given: dict[str, Any]) -> Figures:
    """Print what was measured and return the figures."""
    trials = int(given["trials"])
    table = Table("executor", f"{WORKERS} workers against one")
    speeds = {}
    for name in ("local", "ray"):
        speeds[name] = round(speed(name, given["seconds"], trials), 3)
        table.row(name, f"{speeds[name]:.2f}")
    complete, distinct, retried = lost_node(trials)
    print(
        f"\na node lost: {complete} of {trials} complete, {distinct} distinct, "
        f"{retried} evaluated again\n"
    )
    same = same_points()
    met = {
        f"at least {TARGET:.0%} of {WORKERS} times the speed": min(speeds.values())
        >= TARGET * WORKERS,
        "with a node lost every trial ends, none comes twice": complete == distinct == trials,
        "one Ray worker proposes what this process does": same,
    }
    result = {"speed": speeds, "complete": complete, "distinct": distinct, "same": same}
    return {**result, "pass": targets(met)}


def speed(executor: str, seconds: float, trials: int) -> float:
    """Return how many times as much four workers get done as one in the same time.

    It is counted from when the last worker has begun its first trial to when the last trial begins,
    so that neither starting nor the end, when there is nothing left to do, is part of it.
    """
    done = {}
    more = {"cpus_per_trial": 0.25} if executor == "ray" else {}  # sleeping needs no core
    for jobs in (1, WORKERS):
        with TemporaryDirectory() as folder:

            def estimate(point: Any, log: Path = Path(folder)) -> dict[str, float]:
                begin = time.time()
                time.sleep(seconds)
                text = f"{os.getpid()} {begin} {time.time()}"
                (log / f"{sorted(point.items())}").write_text(text)
                return {"fitness": float(sum(point.values()))}

            n = trials if jobs > 1 else trials // WORKERS + 2
            search(SPACE, estimate, trials=n, executor=executor, jobs=jobs, **more, **RANDOM)
            rows = [f.read_text().split() for f in Path(folder).iterdir()]
        first: dict[str, float] = {}
        for pid, begin, _ in rows:
            first[pid] = min(first.get(pid, math.inf), float(begin))
        start, end = max(first.values()), max(float(begin) for _, begin, _ in rows)
        if end <= start:
            raise SystemExit(
                f"{executor}: the last of {jobs} workers began at the end; give more trials"
            )
        busy = sum(max(0.0, min(float(e), end) - max(float(b), start)) for _, b, e in rows)
        done[jobs] = busy / (end - start)
    return done[WORKERS] / done[1]


def lost_node(trials: int) -> tuple[int, int, int]:
    """Return the numbers of complete trials, of distinct points, and of points evaluated again."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    node = cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, log_to_driver=False)
    with TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        log.touch()

        def estimate(point: Any) -> dict[str, float]:
            with log.open("a") as file:
                file.write(f"{sorted(point.items())}\n")
            time.sleep(0.5)
            return {"fitness": float(sum(point.values()))}

        def remove() -> None:
            while len(log.read_text().splitlines()) < trials // 3:
                time.sleep(0.05)
            cluster.remove_node(node)

        thread = threading.Thread(target=remove, daemon=True)
        thread.start()
        try:
            study = search(SPACE, estimate, trials=trials, executor="ray", jobs=WORKERS, **RANDOM)
        finally:
            thread.join(5)
            ray.shutdown()
            cluster.shutdown()
        evaluated = log.read_text().splitlines()
    distinct = len({trial.point for trial in study.trials})
    return len(study.complete), distinct, len(evaluated) - len(set(evaluated))


def same_points() -> bool:
    """Return whether one Ray worker gives the search of this process."""

    def estimate(point: Any) -> dict[str, float]:
        return {"fitness": float(sum(point.values()))}

    keys: dict[str, Any] = {"strategy": "evolution", "trials": 20, "seed": 3}
    here = search(SPACE, estimate, **keys)
    there = search(SPACE, estimate, executor="ray", jobs=1, **keys)
    return [t.point for t in here.trials] == [t.point for t in there.trials]


if __name__ == "__main__":
    start(main, KEYS)
