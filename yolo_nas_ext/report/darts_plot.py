"""The plot of a learned distribution: how sure it became, and whether it drifted to the small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from yolo_nas_ext.report.plots import DPI, LINE, SOFT


def learned_png(history: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write `picture` as a PNG.

    Args:
        history: See `picture`.
        path: PNG to write.
    """
    picture(history).savefig(path, format="png")


def picture(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the entropy of every choice over the epochs, and the share of the smallest options.

    Args:
        history: A row an epoch with ``epoch``, ``entropy`` by choice (relative to the uniform
            one's) and ``leaning``, see `space.supernet.distribution`. Where rows have
            an ``eigenvalue``, see `host.supernet.continuous`, it is drawn as well, with the epoch
            whose distribution was taken if it ended the search (``stopped``).
    """
    sharp = [row for row in history if row.get("eigenvalue") is not None]
    count = 3 if sharp else 2
    figure = Figure(figsize=(4.5 * count, 4.5), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    plots = figure.subplots(1, count)
    _entropy(plots[0], history)
    epochs = [row["epoch"] for row in history]
    plots[1].plot(epochs, [row["leaning"] for row in history], color=LINE, marker=".")
    plots[1].axhline(1.0, color=SOFT, lw=0.8, ls="--")
    plots[1].set_ylim(bottom=0)
    plots[1].set_ylabel("share of the smallest sizes, 1 is uniform", color=SOFT)
    if sharp:
        _eigenvalue(plots[2], sharp, history[-1].get("stopped"))
        plots[2].set_xlim(plots[1].get_xlim())
    for plot in plots:
        plot.set_xlabel("epoch", color=SOFT)
        plot.xaxis.get_major_locator().set_params(integer=True)
    return figure


def _entropy(plot: Any, history: Sequence[Mapping[str, Any]]) -> None:
    epochs = [row["epoch"] for row in history]
    names = list(history[-1]["entropy"]) if history else []
    for name in sorted(names, key=lambda n: history[-1]["entropy"][n]):
        values = [row["entropy"][name] for row in history]
        plot.plot(epochs, values, lw=1.2, marker="." if len(epochs) < 3 else "", label=name)
    plot.set_ylim(0, 1.05)
    plot.set_ylabel("entropy of a choice, relative to uniform", color=SOFT)
    plot.legend(fontsize=6, ncols=2, loc="lower left", frameon=False)


def _eigenvalue(plot: Any, rows: Sequence[Mapping[str, Any]], stopped: int | None) -> None:
    plot.plot([r["epoch"] for r in rows], [r["eigenvalue"] for r in rows], color=LINE, marker=".")
    plot.axhline(0.0, color=SOFT, lw=0.8, ls="--")
    plot.set_ylabel("dominant eigenvalue of the held-out loss's Hessian", color=SOFT)
    if stopped:
        plot.axvline(stopped, color=SOFT, lw=0.8)
        text = f"it rose: the distribution of epoch {stopped} was taken"
        plot.set_title(text, fontsize=8, color=SOFT)


def collapse(history: Sequence[Mapping[str, Any]], sampled: Sequence[float]) -> str:
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
