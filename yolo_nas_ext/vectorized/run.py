"""The inner search as a run: progress while it goes on, its population as the record of the run."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from yolo_nas_ext.config.search import SearchSettings
from yolo_nas_ext.console import duration
from yolo_nas_ext.cost.budget import Budget
from yolo_nas_ext.estimators.zero_cost.entropy import SCORES
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial
from yolo_nas_ext.vectorized.evolution import Outcome, evolve

EVERY = 10.0  # seconds between lines where nobody watches
WATCHED = 0.2


def run(
    config: SearchSettings,
    space: DetectorSpace,
    budget: Budget,
    study: Study,
    folder: Path,
    *,
    baselines: Sequence[Trial] = (),
    stream: TextIO | None = None,
) -> bool:
    """Search, and record the baselines and the final population in an empty study.

    ``inner.json`` in the folder holds the history of the best score and the counts. A run that was
    killed is run again: it takes seconds, and the same seed gives the same population.

    Args:
        config: Settings of the run.
        space: The space, within the budget.
        budget: The limits.
        study: Where the population goes, best first.
        folder: The run folder.
        baselines: Hand-made networks; those in the space take part.
        stream: Where progress is printed.

    Returns:
        Whether Ctrl-C ended it.
    """
    outcome = evolve(
        space,
        budget,
        score=config.estimator,
        trials=config.trials,
        seed=config.seed,
        population=config.population,
        seeds=[t.point for t in baselines if t.point is not None],
        progress=_Progress(config.trials, stream or sys.stdout),
    )
    study.add(_trials(config, budget, outcome, baselines))
    record = {
        "score": config.estimator,
        "seed": config.seed,
        "trials": config.trials,
        "counts": outcome.counts,
        "seconds": round(outcome.seconds, 3),
        "history": outcome.history,
        "interrupted": outcome.interrupted,
    }
    (folder / "inner.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    counts = outcome.counts
    over = ", ".join(
        f"{counts[name]:,} over {name[5:]}" for name in counts if name.startswith("over_")
    )
    print(
        f"{counts['evaluated']:,} networks in {duration(outcome.seconds)}"
        + (f" ({over})" if over else "")
        + f"; the best {len(outcome.population)} are in trials.csv"
    )
    return outcome.interrupted


def _trials(
    config: SearchSettings, budget: Budget, outcome: Outcome, baselines: Sequence[Trial]
) -> list[Trial]:
    """Return the baselines, scored, and the members of the population that are none of them."""
    known = {trial.network.key for trial in baselines}
    members = [m for m in outcome.population if m.architecture.key not in known]
    trials = [*baselines, *(Trial(0, m.point, m.architecture) for m in members)]
    found = []
    for number, trial in enumerate(trials):
        value = SCORES[config.estimator](trial.network, budget.imgsz, budget.channels)
        cost = budget.record(trial.network)
        latency = {name: ms for name, ms in cost.items() if name == "latency_ms"}
        outcome_of: dict[str, Any] = (
            {"state": "complete", "metrics": {**latency, "fitness": value}}
            if math.isfinite(value)
            else {"state": "failed", "error": f"ruled out: {config.estimator} has no value for it"}
        )
        fields = {name: getattr(trial, name) for name in ("point", "architecture", "name")}
        fidelity = {"imgsz": budget.imgsz}
        found.append(Trial(number, **fields, cost=cost, fidelity=fidelity, **outcome_of))
    return found


class _Progress:
    """Prints how far the search is: over one line on a terminal, now and then a line elsewhere."""

    def __init__(self, trials: int, stream: TextIO) -> None:
        self.trials, self.stream = trials, stream
        self.watched = stream.isatty()
        self.begin = self.last = time.perf_counter()

    def __call__(self, evaluated: int, best: float) -> None:
        now = time.perf_counter()
        done = evaluated >= self.trials
        if now - self.last < (WATCHED if self.watched else EVERY) and not (done and self.watched):
            return
        self.last = now
        rate = evaluated / max(now - self.begin, 1e-9)
        left = duration((self.trials - evaluated) / max(rate, 1e-9))
        line = f"{evaluated:,} of {self.trials:,}  best {best:.4f}  {rate:,.0f}/s  {left} left"
        end = "\n" if done or not self.watched else ""
        print(("\r\x1b[K" if self.watched else "") + line, end=end, file=self.stream, flush=True)
