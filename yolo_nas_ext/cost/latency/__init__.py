"""Latency by a device profile: how layers are measured, a model is fitted, networks are predicted.

It may import `network`; `probe` travels alone in the bundle and imports nothing of the
package.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Give what the guides of version 0.1 took from here."""
    if name != "load":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from yolo_nas_ext.cost.latency.profile import load

    return load
