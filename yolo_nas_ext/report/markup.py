"""HTML and SVG where what is not markup is escaped, whoever forgot to."""

from __future__ import annotations

from html import escape

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
