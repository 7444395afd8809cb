"""Plugin modules made known to Ultralytics' YAML parser."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_OURS = "__yolo_nas_ext__"


def register(tasks: Any, plugins: Mapping[str, type] | None = None) -> None:
    """Make plugin modules available to ``parse_model``; a second time does nothing.

    The parser looks names up among its globals, and knows by a module's class which arguments to
    put in front of a row's own. While it reads a definition that names one of
    `host.plugin.modules.PLUGINS`, a module of Ultralytics that the definition does not use stands
    aside for it.

    Args:
        tasks: Ultralytics' ``ultralytics.nn.tasks``. Names that Ultralytics has itself are left
            alone.
        plugins: Modules by their names in a YAML; the shipped ones, with what the parser needs for
            them, if None. The rows of a supernet, in `host.supernet.elastic`, bring what they need.
    """
    parse = tasks.parse_model  # first, as a host without it is left alone
    from yolo_nas_ext.host.plugin.modules import PLUGINS

    for name, module in (PLUGINS if plugins is None else plugins).items():
        if not hasattr(tasks, name):
            setattr(tasks, name, module)
    if plugins is None and not hasattr(parse, _OURS):
        tasks.parse_model = _with_plugins(tasks, parse)


def _with_plugins(tasks: ModuleType, parse: Callable[..., Any]) -> Callable[..., Any]:
    """Return Ultralytics' parser, prepared for the plugins that a definition names."""
    from yolo_nas_ext.host.plugin.modules import PLUGINS, fill_channels

    @functools.wraps(parse)
    def with_plugins(d: dict[str, Any], ch: int, *more: Any, **options: Any) -> Any:
        named = {row[2] for row in [*d["backbone"], *d["head"]]}
        if not named & PLUGINS.keys():
            return parse(d, ch, *more, **options)
        fill_channels(d, ch)
        with _standing_in(tasks, named):
            return parse(d, ch, *more, **options)

    setattr(with_plugins, _OURS, True)
    return with_plugins


@contextmanager
def _standing_in(tasks: ModuleType, named: set[str]) -> Iterator[None]:
    """Put each plugin that is named in the place of a module of Ultralytics that is not."""
    from yolo_nas_ext.host.plugin.modules import PLUGINS, STAND_INS

    aside: dict[str, Any] = {}
    try:
        for plugin in named & PLUGINS.keys():
            place = next((name for name in STAND_INS[plugin] if name not in named), None)
            if place is None:
                raise ValueError(f"{plugin} cannot stand beside all of {STAND_INS[plugin]}")
            aside[place] = getattr(tasks, place)
            setattr(tasks, place, PLUGINS[plugin])
        yield
    finally:
        for place, module in aside.items():
            setattr(tasks, place, module)
