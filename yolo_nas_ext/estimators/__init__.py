"""HOW good it is: performance estimation by trainings, shared weights or scores.

It may import `config`, `cost`, `data`, `host`, `metrics`, `network`, `plugins` and `space`;
`factory.ESTIMATORS` names what there is.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Give what version 0.1 told users to import from here."""
    if name != "options":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from yolo_nas_ext.estimators.factory import training_options

    return training_options
