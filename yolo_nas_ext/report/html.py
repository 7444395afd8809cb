"""An HTML document that loads nothing and runs nothing but its own script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path


def document(title: str, body: Markup) -> str:
    """Return a page; its content security policy allows its own style and script alone, by digest.

    Args:
        title: Of the window.
        body: What is in it.
    """
    style, script = (
        files("yolo_nas_ext.report")
        .joinpath(name)
        .read_text(encoding="utf-8")
        .replace("\r\n", "\n")
        for name in ("page.css", "page.js")
    )
    policy = (
        f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    head = join(
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        Markup(f"<style>{style}</style>"),
    )
    body = element("body", body, Markup(f"<script>{script}</script>"))
    return f"<!doctype html>\n{element('html', element('head', head), body, lang='en-GB')}\n"


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def picture(name: str, path: Path) -> Markup:
    """Return a picture, inside of the page."""
    data = base64.b64encode(path.read_bytes()).decode()
    image = element("img", src=f"data:image/png;base64,{data}", alt=name)
    return join(element("h2", name), element("figure", image))


def pairs(title: str, values: Mapping[str, object]) -> Markup:
    """Return names with their values under a heading; nothing without any."""
    if not values:
        return Markup()
    rows = [
        element("div", element("dt", name), element("dd", _said(value)))
        for name, value in values.items()
    ]
    return join(element("h2", title), element("dl", *rows))


def _said(value: object) -> str:
    if value is None:
        return "–"  # noqa: RUF001
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)):
        return ", ".join(str(v) for v in value) or "–"  # noqa: RUF001
    return str(value)


def command_block(title: str, command: str) -> Markup:
    """Return a command to copy under a heading; nothing without one."""
    if not command:
        return Markup()
    return join(element("h2", title), element("pre", element("code", command)))


VOID = ("meta",)


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def element(tag: str, *children: object, **attributes: object) -> Markup:
    """Return an element; children that are no `Markup`, and all attributes, are escaped.

    Args:
        tag: Its name.
        *children: What is in it.
        **attributes: ``class_`` is class, ``text_anchor`` text-anchor. None leaves an attribute
            out, True gives it no value, numbers are rounded to a tenth.
    """
    parts = [tag]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        name = name.rstrip("_").replace("_", "-")
        parts.append(name if value is True else f'{name}="{_safe(_plain(value))}"')
    opening = f"<{' '.join(parts)}>"
    return Markup(opening if tag in VOID else f"{opening}{join(*children)}</{tag}>")


def join(*children: object) -> Markup:
    """Return children in a row, escaped where they are no `Markup`."""
    return Markup("".join(c if isinstance(c, Markup) else _safe(_plain(c)) for c in children))


def _plain(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


def _safe(text: str) -> str:
    """Escape text, and show bytes and control characters that no page may hold as what they are."""
    text = text.encode(errors="backslashreplace").decode()
    text = "".join(c if c.isprintable() or c in "\n\t " else "\ufffd" for c in text)
    return escape(text, quote=True)


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
            shown
            if isinstance(shown, Wide)
            else element(
                "td", shown, class_="n" if n else None, data_v=None if by is None else str(by)
            )
            for (shown, by), n in zip(cells, numeric, strict=True)
        ]
        lines.append(element("tr", *parts, class_=name or None, id=anchor))
    built = element(
        "table",
        element("thead", element("tr", *head)),
        element("tbody", *lines),
        class_=kind or None,
    )
    return element(
        "div",
        built,
        class_="scroll tall" if tall else "scroll",
        tabindex=0,
        role="region",
        aria_label=heads[0],
    )


class Wide(Markup):
    """A cell of its own that may wrap."""

    __slots__ = ()


def wide(text: str) -> Wide:
    """Return a cell that wraps where its text is long."""
    return Wide(element("td", text, class_="wide" if len(text) > 30 else None))
