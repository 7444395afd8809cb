"""The vectorized search as a run: its progress, and its population as the record of the run."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from yolo_nas_ext.config.search import SearchSettings
from yolo_nas_ext.console import Progress, duration, say
from yolo_nas_ext.cost.budget import Budget
from yolo_nas_ext.estimators.zero_cost.entropy import SCORES
from yolo_nas_ext.files import write_text
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial
from yolo_nas_ext.vectorized.evolution import EvolutionResult, evolve

LINE = "{done:,} of {total:,}  {note}  {rate:,.0f}/s  {left} left"


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
        baselines: Baselines; those in the space take part in the search.
        stream: Where progress is printed.

    Returns:
        Whether Ctrl-C ended it.
    """
    with Progress(config.trials, LINE, stream=stream) as progress:
        outcome = evolve(
            space,
            budget,
            score=config.estimator,
            trials=config.trials,
            seed=config.seed,
            population=config.population,
            seeds=[t.point for t in baselines if t.point is not None],
            progress=lambda done, best: progress(done, f"best {best:.4f}"),
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
    write_text(folder / "inner.json", json.dumps(record, indent=1) + "\n")
    counts = outcome.counts
    over = ", ".join(
        f"{counts[name]:,} over {name[5:]}" for name in counts if name.startswith("over_")
    )
    say(
        f"{counts['evaluated']:,} networks in {duration(outcome.seconds)}"
        + (f" ({over})" if over else "")
        + f"; the best {len(outcome.population)} are in trials.csv"
    )
    return outcome.interrupted


def _trials(
    config: SearchSettings, budget: Budget, outcome: EvolutionResult, baselines: Sequence[Trial]
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
