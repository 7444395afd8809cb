"""Class-stratified splits and subsets of images, reproducible and never through a group."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence

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


def folds(
    classes: Sequence[Iterable[int]],
    n: int,
    *,
    seed: int = 0,
    groups: Sequence[Hashable] | None = None,
) -> list[list[int]]:
    """Return `n` parts of the images to hold out one after the other; each image is in one.

    Args:
        classes: For each image the classes in it; none for a background image.
        n: How many, at least 2.
        seed: Of the choice among equals.
        groups: For each image what it may not be separated from, for example its patient.

    Returns:
        Sorted indices, each part with about as many images and as many of every class.

    Raises:
        NASError: For fewer groups than parts.
    """
    members = _members(len(classes), groups)
    if len(members) < n:
        noun = "images" if groups is None else "groups"
        raise NASError(f"folds={n}: the training part has {len(members)} {noun}; give as many")
    left, found = list(range(len(classes))), []
    for more in range(n, 1, -1):
        own = None if groups is None else [groups[index] for index in left]
        rest, out = hold_out(
            [classes[index] for index in left], fraction=1 / more, seed=seed, groups=own
        )
        found.append([left[index] for index in out])
        left = [left[index] for index in rest]
    return [*found, left]


def fill(
    classes: Mapping[str, Iterable[int]],
    shares: Mapping[str, float],
    *,
    kept: Mapping[str, str] | None = None,
    seed: int = 0,
    rest: str = "train",
) -> dict[str, str]:
    """Return a part for everybody, such that who comes later moves nobody, or hardly anybody.

    The order in which people are looked at is a hash of each alone. Parts are filled one after the
    other up to their share of people and of every class; who has a part keeps it.

    Args:
        classes: For everybody the classes that they have.
        shares: Part of the people in each part but the rest, in the order in which they are filled.
        kept: The part that somebody has from before.
        seed: Of the hash.
        rest: The part of the others.

    Returns:
        A part for everybody, in the order of `classes`. The rest is empty only where the shares
        leave nothing.
    """
    found = {who: part for who, part in (kept or {}).items() if who in classes}
    order = sorted(classes, key=lambda who: hashlib.sha256(f"{seed}/{who}".encode()).digest())
    whole = sum(shares.values()) >= 1 - 1e-9
    parts = [part for part, share in shares.items() if share > 0]
    for index, part in enumerate(parts):
        later = len(parts) - index - 1 + (not whole)  # parts that want somebody, too
        share = shares[part]
        among = len(classes)
        if whole:  # what the parts before have left, so that none is short by their rounding
            done = {*parts[:index]}
            among -= sum(of in done for of in found.values())
            share /= sum(shares[p] for p in parts[index:])
        wanted = max(1, round(share * among))
        has = [who for who, of in found.items() if of == part]
        free = [who for who in order if who not in found]
        n = min(wanted - len(has), len(free) - later)
        if whole and part == parts[-1]:
            n = len(free)
        if n > 0:
            sets = [classes[who] for who in free]
            one_each = [[i] for i in range(len(free))]
            have, all_of = _counts(classes, has), _counts(classes, classes)
            each = {c: max(1.0, count * shares[part]) for c, count in all_of.items()}
            for i in _draw(sets, one_each, n, None, later, have, each):
                found[free[i]] = part
    return {who: found.get(who, rest) for who in classes}


def _counts(classes: Mapping[str, Iterable[int]], who: Iterable[str]) -> Counter[int]:
    return Counter(c for one in who for c in set(classes[one]) or {BACKGROUND})


def subset(classes: Sequence[Iterable[int]], n: int, *, seed: int = 0) -> list[int]:
    """Return the sorted indices of `n` images in which classes are about as frequent as in all.

    Raises:
        NASError: For `n` below 1 or above the number of images.
    """
    if not 1 <= n <= len(classes):
        raise NASError(f"cannot take {n} of {len(classes)} images: give 1 to {len(classes)}")
    return sorted(_draw(classes, [[i] for i in range(len(classes))], n, seed, spare=0))


def divided(groups: Sequence[Hashable], n: int) -> list[int]:
    """Return the part, from 0, of each image, such that `n` parts have about as many groups.

    Args:
        groups: For each image what it may not be separated from.
        n: How many parts; there are fewer where there are fewer groups.
    """
    order = list(dict.fromkeys(groups))
    random.Random("divided").shuffle(order)
    part = {group: index % n for index, group in enumerate(order)}
    return [part[group] for group in groups]


def _members(n: int, groups: Sequence[Hashable] | None) -> list[list[int]]:
    """Return the images of each group, in the order of the groups' first image."""
    found: dict[Hashable, list[int]] = {}
    for index in range(n):
        found.setdefault(index if groups is None else groups[index], []).append(index)
    return list(found.values())


def _draw(
    classes: Sequence[Iterable[int]],
    members: Sequence[list[int]],
    n: float,
    seed: int | None,
    spare: int,
    have: Counter[int] | None = None,
    wanted: Mapping[int, float] | None = None,
) -> list[int]:
    """Return groups of about `n` images in all, leaving `spare` groups of every class behind.

    Without a seed the first groups are taken first. `have` counts groups of each class that are
    there already, and `wanted` says how many of each there should be.
    """
    has = [frozenset(c for i in group for c in classes[i]) or {BACKGROUND} for group in members]
    order = list(range(len(members)))
    if seed is not None:
        random.Random(f"split/{seed}").shuffle(order)
    most = max(round(n), 1)
    left = Counter(c for group in has for c in group)
    have = Counter(have)
    share = n / sum(map(len, members))
    wanted = wanted or {c: max(1.0, count * share) for c, count in left.items()}
    rarest_first = sorted(left, key=lambda c: (left[c], c))
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

    holders: dict[int, list[int]] = {}
    for group in order:
        for c in has[group]:
            holders.setdefault(c, []).append(group)
    # Every class once, by the group with the most classes that are still missing; then each up to
    # its share; then what rounding left over.
    for rare in rarest_first:
        if not have[rare]:
            for group in sorted(holders[rare], key=lambda g: sum(have[c] > 0 for c in has[g])):
                if have[rare]:
                    break
                take(group)
    for rare in rarest_first:
        for group in holders[rare]:
            if have[rare] >= wanted[rare] - 0.5:
                break
            take(group)
    for group in order:
        take(group)
    return list(taken) or [min(order, key=lambda g: len(members[g]))]
