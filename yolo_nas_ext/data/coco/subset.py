"""Images of a COCO JSON in which classes and sizes of objects have their shares."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pycocotools.coco import COCO

EMPTY = -1  # stands for "no object" where images are picked by class
# COCO's own bounds of small, medium and large, in square pixels.
AREAS = (("small", 0.0, 32.0**2), ("medium", 32.0**2, 96.0**2), ("large", 96.0**2, math.inf))


def stratified(
    classes: Sequence[frozenset[int]], n: int, rng: random.Random, *, spare: bool
) -> set[int]:
    """Pick n of the images so that each class gets its share, the rarest class first.

    Args:
        classes: The classes in each image; an empty set counts as a class of its own.
        n: How many to pick, at most ``len(classes)``.
        rng: Decides among equals.
        spare: Leave at least one image of each class unpicked, as long as that is possible.

    Returns:
        Indices into `classes`.
    """
    held = [part or frozenset((EMPTY,)) for part in classes]
    total = Counter(name for part in held for name in part)
    share = n / max(len(held), 1)
    order = list(range(len(held)))
    rng.shuffle(order)
    members: dict[int, list[int]] = {name: [] for name in total}
    for i in order:
        for name in held[i]:
            members[name].append(i)
    picked: set[int] = set()
    have: Counter[int] = Counter()

    def take(candidates: Sequence[int], slack: int | None, wanted: int, name: int | None) -> None:
        """Pick candidates that bring no class more than `slack` above its share, until `wanted`."""
        for i in candidates:
            if len(picked) >= n or (name is not None and have[name] >= wanted):
                return
            most = {
                c: min(math.ceil(share * total[c]) + (slack or 0), total[c] - spare)
                for c in held[i]
            }
            if i not in picked and (slack is None or all(have[c] < most[c] for c in most)):
                picked.add(i)
                have.update(held[i])

    for name in sorted(total, key=lambda name: (total[name], name)):
        for slack in (0, 2):
            take(members[name], slack, int(share * total[name] + 0.5), name)
    for slack in (0, 1, 3, None):  # fill up; at the very end with whatever is left
        take(order, slack, n, None)
    return picked


def _areas(rows: Sequence[Mapping[str, Any]]) -> frozenset[int]:
    """Return which of COCO's sizes occur among annotations, as classes that no category has."""
    sizes = [row.get("area") for row in rows if not row.get("iscrowd")]
    return frozenset(
        EMPTY - 1 - index
        for index, (_, low, high) in enumerate(AREAS)
        if any(isinstance(size, (int, float)) and low <= size < high for size in sizes)
    )


def choose(
    coco: COCO,
    found: list[tuple[dict[str, Any], Path]],
    *,
    classes: int | None,
    max_images: int | None,
    rng: random.Random,
) -> tuple[list[tuple[dict[str, Any], Path]], set[int]]:
    """Return the subset of the images and the ids of the most frequent categories of them all."""
    kinds = [
        Counter(a["category_id"] for a in coco.imgToAnns.get(row["id"], ()) if not a.get("iscrowd"))
        for row, _ in found
    ]
    frequency = Counter(category for kind in kinds for category in kind.elements())
    keep = set(sorted(coco.cats, key=lambda key: (-frequency[key], key))[:classes])
    if max_images is not None and max_images < len(found):
        present = [
            (frozenset(kind) & keep) | _areas(coco.imgToAnns.get(row["id"], ()))
            for kind, (row, _) in zip(kinds, found, strict=True)
        ]
        found = [found[i] for i in sorted(stratified(present, max_images, rng, spare=False))]
    return found, keep
