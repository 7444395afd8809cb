"""A scan with its masks, and what a source holds of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from yolo_nas_ext.data.scans.series import Series

Source: TypeAlias = Path | Series
Mask: TypeAlias = Path | Series


@dataclass(frozen=True, slots=True)
class PairedScan:
    """A scan with its masks.

    Attributes:
        source: A file, or the series of a DICOM scan.
        masks: Its masks: a label map, or one file per instance or structure.
        name: What to call it on the screen: a path relative to the source; secret beyond that.
        patient: Whose it is; secret.
        folder: The folder it lies in, which may name its class.
        side: ``train``, ``val`` or ``test``, where the source or the user says so.
        labels: The label of each mask, where each is a class, or 0 where its values are labels;
            without, several are instances.
        contrasts: What becomes the channels of a picture, each a file or series and which volume
            of it; without, the source alone.
    """

    source: Source
    masks: tuple[Mask, ...]
    name: str
    patient: str
    folder: str = ""
    side: str = ""
    labels: tuple[int, ...] = ()
    contrasts: tuple[tuple[Source, int | None], ...] = ()


@dataclass(frozen=True, slots=True)
class PairedScans:
    """What a source holds.

    Attributes:
        entries: Scans, in the order of their names.
        labelled: Whether it has masks at all.
        orphans: Names of masks without a scan.
        bad: Names of files that cannot be read, each with the reason.
        names: Class names by label, where the source gives them.
        notes: What was found and how, for the user.
        structures: Whether `names` are of structures that masks name.
        inside: Whether files of masks name them in their headers.
        contrasts: What the channels of a datalist's images are called, see `contrasts.chosen`.
    """

    entries: list[PairedScan]
    labelled: bool
    orphans: list[str]
    bad: list[tuple[str, str]]
    names: dict[int, str]
    notes: tuple[str, ...] = ()
    structures: bool = False
    inside: bool = False
    contrasts: tuple[str, ...] = ()
