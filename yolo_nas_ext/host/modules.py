"""Plugin blocks made known to the host's YAML parser."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

# Class name in a YAML -> class. The shipped spaces use the host's own modules only, so it is empty;
# a plugin block of the catalogue (`BlockType.plugin`) has its module here. The rows of a supernet
# are in `host.elastic`, which loads the host, and are registered where one is built.
PLUGINS: dict[str, type] = {}


def register(tasks: ModuleType, plugins: Mapping[str, type] = PLUGINS) -> None:
    """Make plugin modules available to ``parse_model``, which looks names up among its globals.

    Args:
        tasks: The host's ``ultralytics.nn.tasks``. Names that the host has itself are left alone.
        plugins: Modules by their names in a YAML.
    """
    for name, module in plugins.items():
        if not hasattr(tasks, name):
            setattr(tasks, name, module)
