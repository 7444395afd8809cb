"""Plots of a model on scans: FROC, sensitivity by size, and agreement of volumes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DPI = 150
LINE, BAND, SOFT = "#0b3d7a", "#c3d6e8", "#57606a"
COLOURS = ("#0b3d7a", "#d55e00", "#007a59", "#9467bd", "#8c564b")
LEAST = 1 / 16  # false positives a scan from which the plot begins


def froc_png(
    path: Path,
    rates: np.ndarray,
    curve: np.ndarray,
    band: tuple[np.ndarray, np.ndarray] | None,
    title: str,
) -> None:
    """Draw a free-response curve with its interval.

    Args:
        path: PNG to write.
        rates: False positives a scan.
        curve: Sensitivity at each.
        band: Lower and upper end of the interval at each; None where there is none.
        title: Above the plot.
    """
    figure, plot = _figure("false positives a scan", "part of the lesions found")
    if band is not None:
        plot.fill_between(rates, *band, color=BAND, label="95 %, by drawing patients")
    label = "found" if band is not None else "found; one patient, no interval"
    plot.plot(rates, curve, color=LINE, label=label)
    plot.set_xscale("log", base=2)
    ticks = [2.0**k for k in range(-3, 4)]
    plot.set_xticks(ticks, [f"1/{round(1 / t)}" if t < 1 else f"{t:g}" for t in ticks])
    plot.set_xlim(float(rates[0]), float(rates[-1]))
    plot.set_ylim(0, 1.02)
    _save(figure, plot, path, title)


def sizes_png(path: Path, rows: Sequence[Mapping[str, float]], unit: str, title: str) -> None:
    """Draw the sensitivity by size of lesion, with intervals.

    Args:
        path: PNG to write.
        rows: ``from``, ``to``, ``lesions``, ``sensitivity``, ``low`` and ``high`` of each size.
        unit: Of the sizes.
        title: Above the plot.
    """
    figure, plot = _figure(f"diameter of a lesion, {unit}", "part of the lesions found")
    names = [
        f"{row['from']:g} to {row['to']:g}" if np.isfinite(row["to"]) else f"{row['from']:g} up"
        for row in rows
    ]
    places = range(len(rows))
    values = [row["sensitivity"] for row in rows]
    plot.bar(places, values, color=BAND, edgecolor=LINE)
    for place, row in zip(places, rows, strict=True):
        if not np.isnan(row["low"]):
            plot.plot([place, place], [row["low"], row["high"]], color=LINE)
        plot.annotate(f"{row['lesions']:.0f}", (place, 0.02), ha="center", color=SOFT)
    plot.set_xticks(list(places), names)
    plot.set_ylim(0, 1.02)
    _save(figure, plot, path, title, legend=False)


def volumes_png(
    path: Path,
    volumes: Mapping[str, tuple[np.ndarray, np.ndarray]],
    unit: str,
    title: str,
) -> None:
    """Draw differences of volumes against their means (Bland and Altman 1986).

    Args:
        path: PNG to write.
        volumes: For each class the volumes of the scans: what there is, and what is found.
        unit: Of the volumes.
        title: Above the plot.
    """
    figure, plot = _figure(f"mean of both volumes, {unit}", f"found less true, {unit}")
    for index, (name, (true, found)) in enumerate(volumes.items()):
        colour = COLOURS[index % len(COLOURS)]
        plot.scatter((true + found) / 2, found - true, color=colour, s=18, label=name)
        bias, low, high = agreement(true, found)
        plot.axhline(bias, color=colour, lw=1)
        for limit in (low, high):
            if not np.isnan(limit):
                plot.axhline(limit, color=colour, lw=1, ls="--")
    plot.axhline(0, color=SOFT, lw=0.6)
    _save(figure, plot, path, title)


def agreement(true: np.ndarray, found: np.ndarray) -> tuple[float, float, float]:
    """Return the mean difference of volumes and its 95 % limits; nan for those of one scan."""
    difference = found - true
    bias = float(difference.mean())
    if len(difference) < 2:
        return bias, float("nan"), float("nan")
    reach = 1.96 * float(difference.std(ddof=1))
    return bias, bias - reach, bias + reach


def _figure(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6, 4), dpi=DPI)
    FigureCanvasAgg(figure)
    plot = figure.add_subplot()
    plot.set_xlabel(x, color=SOFT)
    plot.set_ylabel(y, color=SOFT)
    plot.spines[["top", "right"]].set_visible(False)
    return figure, plot


def _save(figure: Figure, plot: Axes, path: Path, title: str, *, legend: bool = True) -> None:
    plot.set_title(title, fontsize=11, loc="left", parse_math=False)
    if legend:
        plot.legend(frameon=False, fontsize=9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of names in a script that the font lacks
        figure.tight_layout()
        figure.savefig(path)
