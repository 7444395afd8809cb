"""An HTML document that loads nothing and runs nothing but its own script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path

from yolo_nas_ext.report.markup import Markup, element, join


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
