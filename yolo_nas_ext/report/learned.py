"""The plot of a learned distribution: how sure it became, and whether it drifted to the small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from yolo_nas_ext.report.plots import DPI, LINE, SOFT


def learned_png(history: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the entropy of every choice over the epochs, and the share of the smallest options.

    Args:
        history: A row an epoch with ``epoch``, ``entropy`` by choice (relative to the uniform
            one's) and ``leaning``, see `space.learned`.
        path: PNG to write.
    """
    figure = Figure(figsize=(9, 4.5), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    names = list(history[-1]["entropy"]) if history else []
    for name in sorted(names, key=lambda n: history[-1]["entropy"][n]):
        values = [row["entropy"][name] for row in history]
        left.plot(epochs, values, lw=1.2, marker="." if len(epochs) < 3 else "", label=name)
    left.set_ylim(0, 1.05)
    left.set_ylabel("entropy of a choice, relative to uniform", color=SOFT)
    left.legend(fontsize=6, ncols=2, loc="lower left", frameon=False)
    right.plot(epochs, [row["leaning"] for row in history], color=LINE, marker=".")
    right.axhline(1.0, color=SOFT, lw=0.8, ls="--")
    right.set_ylim(bottom=0)
    right.set_ylabel("share of the smallest sizes, 1 is uniform", color=SOFT)
    for plot in (left, right):
        plot.set_xlabel("epoch", color=SOFT)
    figure.savefig(path, format="png")


def collapse(
    history: Sequence[Mapping[str, Any]], sampled: Sequence[float]
) -> str:  # fmt: skip
    """Return what became of a learned distribution, in a line.

    Args:
        history: As of `learned_png`.
        sampled: Fitness of the networks that were drawn from it, in the supernet.
    """
    last = history[-1]
    surest = min(last["entropy"], key=last["entropy"].__getitem__, default="")
    mean = sum(last["entropy"].values()) / max(1, len(last["entropy"]))
    text = (
        f"learned distribution: mean entropy {mean:.2f} of the uniform one's, surest choice "
        f"{surest} with {last['entropy'].get(surest, 1.0):.2f}; the smallest sizes are "
        f"{last['leaning']:.2f} times as likely as in the uniform one"
    )
    sharp = [row["eigenvalue"] for row in history if row.get("eigenvalue") is not None]
    if sharp:
        text += f"; largest eigenvalue of the loss's Hessian from {sharp[0]:.3g} to {sharp[-1]:.3g}"
    if last.get("stopped"):
        text += f", so that the distribution of epoch {last['stopped']} was taken"
    if sampled:
        gap = max(sampled) - sum(sampled) / len(sampled)
        text += f"; the best of {len(sampled)} drawn is {gap:.4f} above their mean"
    return text
