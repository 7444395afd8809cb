"""Drawings of the networks of the front beside its chart: the one that is pointed at is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from yolo_nas_ext.cost.budget import short
from yolo_nas_ext.report.drawing import drawing
from yolo_nas_ext.report.findings import Findings, label, number
from yolo_nas_ext.report.markup import Markup, element, join
from yolo_nas_ext.study import Trial

MOST = 40  # drawings on a page; one is some 5 kB


def previewed(findings: Findings) -> list[Trial]:
    """Return the trials with a drawing: the best, the front and the hand-made networks."""
    shown = [*findings.front[::-1], *findings.baselines]
    if findings.best is not None:
        shown.insert(0, findings.best)
    unique = {trial.number: trial for trial in shown if trial.architecture is not None}
    return list(unique.values())[:MOST]


def previews(trials: Sequence[Trial], finals: Mapping[str, str]) -> Markup:
    """Return the drawings, of which the style sheet shows the first, or the one that is asked for.

    Args:
        trials: From `previewed`.
        finals: What the finals say of a network, by its label.
    """
    figures = []
    for index, trial in enumerate(trials):
        facts = [f"fitness {number(trial.fitness)}"] if trial.state == "complete" else [trial.state]
        facts += [f"{short(trial.cost[n])} {unit}" for n, unit in (
            ("params", "parameters"), ("flops", "FLOPs")) if n in trial.cost]  # fmt: skip
        if "latency_ms" in trial.metrics:
            facts.append(f"{trial.metrics['latency_ms']:.3g} ms")
        if label(trial) in finals:
            facts.append(finals[label(trial)])
        row = element("a", f"trial {trial.number + 1}", href=f"#trial-{trial.number}")
        about = element("p", join(" · ".join(facts), " · ", row), class_="soft")
        picture = drawing(trial.network, label(trial))
        heading = element("h3", label(trial))
        shown = "on" if not index else None
        figures.append(
            element("figure", heading, about, picture, id=f"net-{trial.number}", class_=shown)
        )
    return element("div", *figures, class_="nets", aria_live="polite") if figures else Markup()
