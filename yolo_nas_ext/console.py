"""What a terminal shows: tables, and numbers, sizes and times for people."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(cells: Sequence[Sequence[str]]) -> str:
    """Return rows of texts as a table: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    )


def short(value: float, *, up: bool = False) -> str:
    """Return a number with three digits and a suffix: ``2590425`` is ``"2.59M"``.

    Args:
        value: A number of at least 0.
        up: Round away from zero.
    """
    for factor, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K")):
        if value >= factor:
            scaled = value / factor
            digits = 2 if scaled < 10 else 1 if scaled < 100 else 0
            text = f"{scaled:.{digits}f}"
            if up and float(text) < scaled:
                text = f"{float(text) + 10**-digits:.{digits}f}"
            return text + suffix
    return f"{value:.0f}"


def number(value: float) -> str:
    """Return a fitness for people."""
    plain = value == 0 or 1e-3 <= abs(value) < 100
    return f"{value:.4f}" if plain else f"{value:.4g}"


def signed(value: float) -> str:
    """Return a difference of fitness with its sign."""
    size = abs(value)
    return ("+" if value >= 0 else "-") + (f"{size:.4f}" if 5e-5 <= size < 1e-3 else number(size))


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def cut(text: str, most: int) -> str:
    """Return a text of at most so many characters."""
    return text if len(text) <= most else text[: most - 1] + "…"
