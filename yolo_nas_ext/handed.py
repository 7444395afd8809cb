"""What the package's root hands over to parts that may not import it; nothing is imported here.

This is loaded with the package, so with every start of a Python that has the host's hook.
"""

from __future__ import annotations

from collections.abc import Callable

timm: list[Callable[[], object]] = []  # imports who knows the backbones of timm, see `space.whole`
