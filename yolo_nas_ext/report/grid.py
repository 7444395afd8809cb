"""Tables of a page: numbers to the right, sortable, empty columns left out."""

from __future__ import annotations

from collections.abc import Sequence

from yolo_nas_ext.report.markup import Markup, element

Cell = tuple[object, float | str | None]  # what is shown, and what it is sorted by if a number


def table(
    heads: Sequence[str],
    rows: Sequence[tuple[str, str | None, Sequence[Cell]]],
    kind: str,
    *,
    tall: bool = False,
) -> Markup:
    """Return a table of (class, id, cells) rows; a cell with something to sort by is a number.

    Columns of numbers without any are left out.
    """
    used = [i for i in range(len(heads)) if any(cells[i][1] != "" for _, _, cells in rows)]
    heads = [heads[i] for i in used]
    rows = [(name, anchor, [cells[i] for i in used]) for name, anchor, cells in rows]
    numeric = [any(row[2][i][1] is not None for row in rows) for i in range(len(heads))]
    head = [
        element("th", text, scope="col", class_="n" if n else None)
        for text, n in zip(heads, numeric, strict=True)
    ]
    lines = []
    for name, anchor, cells in rows:
        parts = [
            shown if isinstance(shown, Wide) else element(
                "td", shown, class_="n" if n else None, data_v=None if by is None else str(by)
            )
            for (shown, by), n in zip(cells, numeric, strict=True)
        ]  # fmt: skip
        lines.append(element("tr", *parts, class_=name or None, id=anchor))
    built = element(
        "table", element("thead", element("tr", *head)), element("tbody", *lines),
        class_=kind or None,
    )  # fmt: skip
    return element("div", built, class_="scroll tall" if tall else "scroll", tabindex=0,
                   role="region", aria_label=heads[0])  # fmt: skip


class Wide(Markup):
    """A cell of its own that may wrap."""

    __slots__ = ()


def wide(text: str) -> Wide:
    """Return a cell that wraps where its text is long."""
    return Wide(element("td", text, class_="wide" if len(text) > 30 else None))
