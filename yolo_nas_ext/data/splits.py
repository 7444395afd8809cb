"""Class-stratified splits and subsets of images, reproducible and never through a group."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

from yolo_nas_ext.errors import NASError


def hold_out(
    classes: Sequence[Iterable[int]],
    *,
    fraction: float = 0.2,
    seed: int = 0,
    groups: Sequence[Hashable] | None = None,
) -> tuple[list[int], list[int]]:
    """Return indices of images to train on and of images held out.

    Iterative stratification (Sechidis et al. 2011) by greedy choice: the rarest class first, so
    that every class with at least two groups is on both sides where that is possible.

    Args:
        classes: For each image the classes in it; none for a background image.
        fraction: Part of the images to hold out, between 0 and 1.
        seed: Of the choice among equals.
        groups: For each image what it may not be separated from, for example its patient.

    Returns:
        Sorted indices (train, held out); neither is empty.

    Raises:
        NASError: For fewer than two groups.
    """
    members = _members(len(classes), groups)
    if len(members) < 2:
        raise NASError(
            f"cannot hold out images: the training part has {len(members)} "
            f"{'image' if groups is None else 'group'}; at least 2 are needed"
        )
    held = _draw(classes, members, fraction * len(classes), seed, spare=1)
    out = sorted(index for group in held for index in members[group])
    taken = set(out)
    return [index for index in range(len(classes)) if index not in taken], out


def subset(classes: Sequence[Iterable[int]], n: int, *, seed: int = 0) -> list[int]:
    """Return the sorted indices of `n` images in which classes are about as frequent as in all.

    Raises:
        NASError: For `n` below 1 or above the number of images.
    """
    if not 1 <= n <= len(classes):
        raise NASError(f"cannot take {n} of {len(classes)} images: give 1 to {len(classes)}")
    return sorted(_draw(classes, [[i] for i in range(len(classes))], n, seed, spare=0))


def _members(n: int, groups: Sequence[Hashable] | None) -> list[list[int]]:
    """Return the images of each group, in the order of the groups' first image."""
    found: dict[Hashable, list[int]] = {}
    for index in range(n):
        found.setdefault(index if groups is None else groups[index], []).append(index)
    return list(found.values())


def _draw(
    classes: Sequence[Iterable[int]], members: Sequence[list[int]], n: float, seed: int, spare: int
) -> list[int]:
    """Return groups of about `n` images in all, leaving `spare` groups of every class behind."""
    rng = random.Random(f"split/{seed}")
    has = [frozenset(c for index in group for c in classes[index]) for group in members]
    order = list(range(len(members)))
    rng.shuffle(order)
    total = sum(map(len, members))
    frequency = Counter(c for group in has for c in group)
    wanted = {c: max(1.0, count * n / total) for c, count in frequency.items()}
    left = Counter(frequency)
    taken: list[int] = []
    size = 0

    def may_take(group: int) -> bool:
        return size + len(members[group]) <= max(round(n), 1) and all(
            left[c] > spare for c in has[group]
        )

    chosen: set[int] = set()
    have: Counter[int] = Counter()
    for rare in sorted(frequency, key=lambda c: (frequency[c], c)):
        for group in order:
            if have[rare] >= wanted[rare] - 0.5:
                break
            if group in chosen or rare not in has[group] or not may_take(group):
                continue
            chosen.add(group)
            taken.append(group)
            size += len(members[group])
            have.update(has[group])
            left.subtract(has[group])
    # Fill up with what is most wanted: backgrounds, and classes that are still short.
    for group in order:
        if group not in chosen and size < round(n) and may_take(group):
            chosen.add(group)
            taken.append(group)
            size += len(members[group])
            left.subtract(has[group])
    return taken or [min(order, key=lambda g: len(members[g]))]
