"""Class-stratified splits and subsets of images, reproducible and never through a group."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

from yolo_nas_ext.errors import NASError

BACKGROUND = -1  # stands for the absence of classes, so that empty images are stratified as well


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
        NASError: For fewer than two groups, or a fraction that leaves one side empty.
    """
    if not 0 < fraction < 1:
        raise NASError(f"val_fraction={fraction}: give a number above 0 and below 1")
    if groups is not None and len(groups) != len(classes):
        raise NASError(f"{len(groups)} groups for {len(classes)} images: give one for each image")
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
    has = [frozenset(c for i in group for c in classes[i]) or {BACKGROUND} for group in members]
    order = list(range(len(members)))
    rng.shuffle(order)
    most = max(round(n), 1)
    left = Counter(c for group in has for c in group)
    share = n / sum(map(len, members))
    wanted = {c: max(1.0, count * share) for c, count in left.items()}
    rarest_first = sorted(left, key=lambda c: (left[c], c))
    have: Counter[int] = Counter()
    taken: dict[int, None] = {}
    size = 0

    def take(group: int) -> None:
        nonlocal size
        if group in taken or size + len(members[group]) > most:
            return
        if all(left[c] > spare for c in has[group]):
            taken[group] = None
            size += len(members[group])
            have.update(has[group])
            left.subtract(has[group])

    # Every class once, by the group with the most classes that are still missing; then each up to
    # its share; then what rounding left over.
    for rare in rarest_first:
        if not have[rare]:
            holders = [group for group in order if rare in has[group]]
            for group in sorted(holders, key=lambda g: sum(have[c] > 0 for c in has[g])):
                if have[rare]:
                    break
                take(group)
    for rare in rarest_first:
        for group in order:
            if have[rare] >= wanted[rare] - 0.5:
                break
            if rare in has[group]:
                take(group)
    for group in order:
        take(group)
    return list(taken) or [min(order, key=lambda g: len(members[g]))]
