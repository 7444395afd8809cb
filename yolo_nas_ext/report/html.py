"""Templates into an HTML page that loads nothing and runs nothing but its own script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

from yolo_nas_ext import __version__
from yolo_nas_ext.console import number

if TYPE_CHECKING:
    from jinja2 import Environment

NOTHING = "–"  # noqa: RUF001
WIDE = 30  # letters above which a text wraps


def render(template: str, **values: object) -> str:
    """Return a template of this package with its values, each of them escaped.

    Args:
        template: Its file in ``templates``.
        **values: By name. Floats are rounded to a tenth, as places in pixels are; numbers for
            people are texts already.
    """
    return _environment().get_template(template).render(values)


def page(template: str, **values: object) -> str:
    """Return a page; its content security policy allows its own style and script alone, by digest.

    Args:
        template: One that extends ``layout.html``.
        **values: See `render`; ``title`` is that of the window too.
    """
    style, script = map(_resource, ("page.css", "page.js"))
    policy = (
        f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    own = {"policy": policy, "style": Markup(style), "script": Markup(script)}
    usual = {"running": "", "reload": 0}
    return render(template, version=__version__, **{**usual, **values, **own}) + "\n"


@cache
def _environment() -> Environment:
    # Here, because importing it takes a good part of a second of a command that writes no page.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("yolo_nas_ext.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_plain,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    return environment


def _plain(value: object) -> object:
    """Return what a template shows: bytes and control characters that no page may hold are seen."""
    if hasattr(value, "__html__"):
        return value
    text = f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
    text = text.encode(errors="backslashreplace").decode()
    return "".join(c if c.isprintable() or c in "\n\t " else "\ufffd" for c in text)


def _resource(name: str) -> str:
    text = files("yolo_nas_ext.report").joinpath(name).read_text(encoding="utf-8")
    return text.replace("\r\n", "\n")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def embedded(path: Path) -> str:
    """Return the address of a PNG that lies inside of the page."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def pairs(values: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return names with their values as texts."""
    return [(name, _said(value)) for name, value in values.items()]


def _said(value: object) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)):
        return ", ".join(str(v) for v in value) or NOTHING
    return str(value)


class Cell(NamedTuple):
    """A cell of a table.

    Attributes:
        text: What is shown.
        by: What it is sorted by if it is a number; empty for a number that is not there.
        href: Where it leads.
        tip: What it says when one points at it.
        wide: Whether it may wrap.
    """

    text: object
    by: float | str | None = None
    href: str = ""
    tip: str = ""
    wide: bool = False


class Row(NamedTuple):
    """A row of a table, with its class and its anchor."""

    cells: Sequence[Cell]
    kind: str = ""
    anchor: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table without its empty columns.

    Attributes:
        heads: Texts above the columns.
        numeric: Which columns are of numbers.
        rows: Rows.
        kind: Class.
        tall: Whether it scrolls.
    """

    heads: Sequence[str]
    numeric: Sequence[bool]
    rows: Sequence[Row]
    kind: str
    tall: bool


def table(
    heads: Sequence[str], rows: Sequence[Row], kind: str = "", *, tall: bool = False
) -> Table:
    """Return a table; columns of numbers without any are left out."""
    used = [i for i in range(len(heads)) if any(row.cells[i].by != "" for row in rows)]
    numeric = [any(row.cells[i].by is not None for row in rows) for i in used]
    kept = [row._replace(cells=[row.cells[i] for i in used]) for row in rows]
    return Table([heads[i] for i in used], numeric, kept, kind, tall)


def wide(text: str) -> Cell:
    """Return a cell that wraps where its text is long."""
    return Cell(text, wide=len(text) > WIDE)
