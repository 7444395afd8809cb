"""Ultralytics' settings of what follows a training elsewhere."""

from __future__ import annotations

from collections.abc import Iterable

from ultralytics.utils import SETTINGS, TESTS_RUNNING


def turned_on(names: Iterable[str]) -> list[str]:
    """Return those of some trackers that ``yolo settings`` turns on; none within a test.

    Ultralytics' own integrations are silent within tests, too.

    Args:
        names: What the settings call them.
    """
    return [name for name in names if SETTINGS.get(name) is True and not TESTS_RUNNING]
