"""Which part of a data set each patient is in: said, kept from before, or filled by a hash."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from yolo_nas_ext.data.scans.paired import PairedScans
from yolo_nas_ext.data.splits import fill
from yolo_nas_ext.errors import NASError

SIDES = ("train", "val", "test")


def share(value: str | float) -> float | None:
    """Return the part of the patients that ``val=`` or ``test=`` says; None for a list."""
    try:
        return float(value)
    except ValueError:
        return None


def listed(found: PairedScans, lists: Mapping[str, str]) -> PairedScans:
    """Return scans with the parts that the user's lists say.

    A list is a text file with a patient, a file or a folder a line, or the same with commas.

    Args:
        found: The scans.
        lists: The list of a part, or what is none (a number).

    Raises:
        NASError: For what is on a list and fits no scan, or a patient on two lists.
    """
    of: dict[str, str] = {}
    for side, value in lists.items():
        if share(value) is not None:
            continue
        path = Path(value)
        lines = path.read_text("utf-8-sig").splitlines() if path.is_file() else value.split(",")
        for line in filter(None, map(str.strip, lines)):
            patients = {entry.patient for entry in found.entries if _fits(line, entry)}
            if not patients:
                raise NASError(
                    f"{side}: {line!r} is no patient, file or folder of the source; the first is "
                    f"{found.entries[0].patient if found.entries else 'none'}"
                )
            for patient in patients:
                if of.setdefault(patient, side) != side:
                    raise NASError(
                        f"{side}: {line!r} is of a patient that is in {of[patient]}, too"
                    )
    entries = [replace(e, side=of.get(e.patient, e.side)) for e in found.entries]
    return replace(found, entries=entries) if of else found


def _fits(line: str, entry: object) -> bool:
    name, patient = Path(getattr(entry, "name", "")), str(getattr(entry, "patient", ""))
    last = name.name.split(".")[0]
    wanted = line.removesuffix("/")
    return wanted.lower() in (patient.lower(), str(name).lower(), last.lower()) or any(
        wanted.lower() == part.lower() for part in (*name.parts, *Path(patient).parts)
    )


def assign(
    patients: Sequence[str],
    classes: Sequence[set[Hashable]],
    said: Sequence[str],
    *,
    shares: Mapping[str, float],
    kept: Mapping[str, str] | None = None,
    seed: int = 0,
) -> dict[str, str]:
    """Return the part of every patient.

    Args:
        patients: The patient of every scan.
        classes: The classes of every scan.
        said: For every scan its part, or nothing where that is free.
        shares: Part of the patients in ``test`` and ``val``.
        kept: The part of patients of an earlier conversion; what is said comes first.
        seed: Of the hash.

    Returns:
        A part for every patient, classes stratified where that is possible; a patient has one part,
        whatever is asked for. A single patient is in train, unless everybody is in one part.
    """
    of = _of(patients, classes)
    fixed = dict(kept or {})
    for side in SIDES:  # a patient that is said to be in two is in the later one
        fixed |= {p: side for p, s in zip(patients, said, strict=True) if s == side}
    if len(of) < 2 and sum(shares.values()) < 1:
        return {p: fixed.get(p, "train") for p in of}
    return fill(of, shares, kept=fixed, seed=seed)


def folds(
    patients: Sequence[str],
    classes: Sequence[set[Hashable]],
    n: int,
    *,
    kept: Mapping[str, int] | None = None,
    seed: int = 0,
) -> dict[str, int]:
    """Return the fold of every patient, from 0 to `n` - 1, classes stratified where possible.

    Args:
        patients: The patient of every scan.
        classes: The classes of every scan.
        n: Number of folds.
        kept: Folds of an earlier conversion.
        seed: Of the hash.

    Raises:
        NASError: For fewer patients than folds.
    """
    of = _of(patients, classes)
    if len(of) < n:
        if len(of) < 2:
            raise NASError(f"folds={n}: one patient cannot be on both sides; leave folds out")
        raise NASError(f"folds={n}: there are {len(of)} patients; give at most as many folds")
    shares = {str(fold): 1 / n for fold in range(n)}
    before = {p: str(f) for p, f in (kept or {}).items() if 0 <= f < n}
    return {p: int(fold) for p, fold in fill(of, shares, kept=before, seed=seed).items()}


def _of(patients: Sequence[str], classes: Sequence[Iterable[Hashable]]) -> dict[str, set[int]]:
    """Return the classes of every patient as numbers."""
    index = {c: i for i, c in enumerate(sorted({c for f in classes for c in f}, key=str))}
    of: dict[str, set[int]] = {}
    for patient, found in zip(patients, classes, strict=True):
        of.setdefault(patient, set()).update(index[c] for c in found)
    return of
