"""DICOM files sorted into series, and a series into what is one volume: phases, localizers."""

from __future__ import annotations

import contextlib
import logging
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from yolo_nas_ext.data.scans.volumes import suffix_of
from yolo_nas_ext.files import free_memory

SUFFIXES = (".dcm", ".dicom", ".ima", "")  # or digits: files are often named by an identifier
DEFLATED = b"1.2.840.10008.1.2.1.99"  # the transfer syntax of files compressed as a whole
PART = 1 << 20  # bytes read at a time of such a file
UNREADABLE = (OSError, ValueError, KeyError, AttributeError, EOFError, TypeError)
TAGS = (
    "SeriesInstanceUID StudyInstanceUID PatientID Rows Columns PixelSpacing ImagePositionPatient "
    "ImageOrientationPatient SOPInstanceUID SOPClassUID Modality ImageType InstanceNumber "
    "FrameOfReferenceUID TemporalPositionIdentifier AcquisitionNumber EchoNumbers DiffusionBValue "
    "TriggerTime AcquisitionTime ContentTime NumberOfFrames"
).split()
PHASES = (
    "TemporalPositionIdentifier AcquisitionNumber EchoNumbers DiffusionBValue TriggerTime "
    "ImageType AcquisitionTime ContentTime"
).split()
"""What tells apart the volumes of a series, the surest first."""
SEGMENTATION = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"
REPORTS = {"SR", "PR", "KO", "REG", "RTPLAN", "RTDOSE", "RTRECORD", "DOC", "PLAN"}
STACKED = {"CT", "MR", "PT", "NM"}  # modalities whose files without a place are slices all the same
SLICES = 3  # fewer of another orientation or size are no volume
SAME_PLACE = 1e-3  # mm


@dataclass(frozen=True, slots=True)
class Series:
    """The files of one volume, of one picture, or of one file of masks.

    Attributes:
        files: Its files, sorted by name.
        uid: Its identifier, secret.
        patient: Whose it is, secret: the patient's number, else the study's.
        kind: ``scan``, ``seg`` (a segmentation) or ``rtstruct`` (contours).
        frame: Its frame of reference, secret.
        instances: Identifiers of its files, or of those that masks are of; secret.
        refers: Identifiers of the series that masks are of; secret.
        phase: What is one of several volumes of a series, as ``phase2``.
        notes: What was left out, for the user.
        names: Names of the structures of masks.
        left: Files of it that are left out, as its notes say.
        grid: Rows, columns, their distances and that of slices in mm, and the directions of rows
            and columns; nothing where slices have no place.
    """

    files: tuple[Path, ...]
    uid: str
    patient: str
    kind: str = "scan"
    frame: str = ""
    instances: frozenset[str] = frozenset()
    refers: frozenset[str] = frozenset()
    phase: str = ""
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    left: tuple[Path, ...] = ()
    grid: tuple[float, ...] = ()


def may_be(file: Path) -> bool:
    """Say whether a file's name is one that DICOM files have."""
    suffix = suffix_of(file)
    return suffix in SUFFIXES or suffix[1:].isdigit()


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Keep `pydicom` from printing values of a header that it finds odd."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def is_one(file: Path) -> bool:
    """Say whether a file is DICOM, also one without the preamble that says so."""
    from pydicom.misc import is_dicom  # which a folder of NIfTI does without

    if is_dicom(file):
        return True
    with file.open("rb") as stream:
        start = stream.read(8)
    element, kind = start[:4], start[4:6]
    length = int.from_bytes(start[4:8], "little")
    known = element[:2] in (b"\x02\x00", b"\x08\x00") and element[2:] < b"\x20\x00"
    return len(start) == 8 and known and (kind in (b"UL", b"CS", b"UI", b"OB") or 0 < length < 128)


def is_bomb(file: Path) -> bool:
    """Say whether a file is compressed as a whole, and what is in it too large for memory."""
    with file.open("rb") as opened:
        if DEFLATED not in opened.read(2048):
            return False
    from pydicom.errors import InvalidDicomError
    from pydicom.filereader import read_file_meta_info

    try:
        header = read_file_meta_info(file)
    except InvalidDicomError:  # which the reader will say
        return False
    if str(header.get("TransferSyntaxUID")) != DEFLATED.decode():
        return False
    inflate, done, most = zlib.decompressobj(-zlib.MAX_WBITS), 0, free_memory() // 4
    with file.open("rb") as opened:
        opened.seek(144 + int(header.get("FileMetaInformationGroupLength", 0)))
        while (part := inflate.unconsumed_tail or opened.read(PART)) and done <= most:
            try:
                done += len(inflate.decompress(part, 4 * PART))
            except zlib.error:  # which the reader will say
                return False
    return done > most


def find(files: Sequence[Path]) -> tuple[list[Series], list[tuple[Path, str]]]:
    """Return the series among files, and the DICOM files that cannot be read with the reason."""
    found: dict[tuple[str, str], list[tuple[Path, Any]]] = {}
    bad = []
    for file in sorted(files):
        try:
            with silent():
                if not file.is_file() or not is_one(file):
                    if suffix_of(file) in SUFFIXES[:3] and file.is_file():
                        bad.append((file, "is no DICOM file, whatever its name says"))
                    continue
                if is_bomb(file):
                    bad.append((file, "is compressed as a whole, and too large for memory"))
                    continue
                header = _header(file, specific_tags=[*TAGS])
                kind = str(header.get("SOPClassUID", ""))
                if kind in SEGMENTATION or kind == STRUCTURES:
                    header = _header(file)
        except UNREADABLE as error:
            bad.append((file, f"is a damaged DICOM file ({type(error).__name__}); copy it again"))
            continue
        if "Rows" not in header and kind != STRUCTURES:
            modality = str(header.get("Modality", "") or "")
            if modality and modality not in REPORTS:
                bad.append((file, f"is a DICOM file of {modality} without a picture"))
            continue  # a report, a directory: no picture
        series = str(header.get("SeriesInstanceUID", "") or _unnamed(file, header))
        study = str(header.get("StudyInstanceUID", "") or series)
        found.setdefault((study, series), []).append((file, header))
    return [part for key, rows in found.items() for part in _parts(key, rows)], bad


def _header(file: Path, **more: Any) -> Any:
    import pydicom

    return pydicom.dcmread(file, stop_before_pixels=True, force=True, **more)


def _unnamed(file: Path, header: Any) -> Path:
    """Return what stands for the series of a file that does not say it: of a slice its folder."""
    return file.parent if "ImagePositionPatient" in header else file


def _parts(key: tuple[str, str], rows: list[tuple[Path, Any]]) -> list[Series]:
    """Return the volumes and pictures of a series."""
    kind = str(rows[0][1].get("SOPClassUID", ""))
    if kind in SEGMENTATION or kind == STRUCTURES:
        return [_mask(key, row) for row in rows]
    whole, (rows, copies) = rows, _once(rows)
    placed = [row for row in rows if "ImagePositionPatient" in row[1]]
    alone = [row for row in rows if "ImagePositionPatient" not in row[1]]
    found: list[Series] = []
    if _stacked(alone):
        said = "slices without a place are in the order of their numbers"
        ordered = sorted(alone, key=lambda row: int(row[1].InstanceNumber))
        found.append(_series(key, ordered, notes=(*copies, said)))
    else:
        found += [_series((key[0], f"{key[1]}/{i}"), [row]) for i, row in enumerate(alone)]
    if placed:
        main, others, notes = _alike(placed)
        notes = (*copies, *notes)
        for number, group in enumerate((main, *others)):
            phases = _phases(group)
            for index, phase in enumerate(phases, 1):
                name = f"phase{index}" if len(phases) > 1 else ""
                name = name if not number else f"part{number + 1}{name}"
                found.append(
                    _series(key, phase, notes=() if number or index > 1 else notes, phase=name)
                )
    if found:
        used = {file for one in found for file in one.files}
        left = tuple(file for file, _ in whole if file not in used)
        found[0] = replace(found[0], left=left)
    return found


def _once(rows: Sequence[tuple[Path, Any]]) -> tuple[list[tuple[Path, Any]], tuple[str, ...]]:
    """Return the files of a series without copies, and what is said of those.

    Copies say the same identifier and the same place; de-identified files may all say one.
    """
    first: dict[Any, tuple[Path, Any]] = {}
    for file, header in rows:
        place = str(header.get("ImagePositionPatient", "")), _number(header)
        first.setdefault((str(header.get("SOPInstanceUID", "") or file), *place), (file, header))
    n = len(rows) - len(first)
    return [*first.values()], (_left(n, "of a copied file"),) if n else ()


def _series(
    key: tuple[str, str],
    rows: Sequence[tuple[Path, Any]],
    notes: tuple[str, ...] = (),
    phase: str = "",
) -> Series:
    first = rows[0][1]
    return Series(
        tuple(file for file, _ in rows),
        "/".join(filter(None, [key[1], phase])),
        _patient(key, first),
        frame=str(first.get("FrameOfReferenceUID", "") or ""),
        instances=frozenset(str(h.get("SOPInstanceUID", "")) for _, h in rows),
        phase=phase,
        notes=notes,
        grid=_sizes([header for _, header in rows]),
    )


def _sizes(headers: Sequence[Any]) -> tuple[float, ...]:
    """Return `Series.grid`."""
    try:
        first = headers[0]
        cosines = [float(v) for v in first.ImageOrientationPatient]
        normal = np.cross(cosines[:3], cosines[3:])
        along = sorted(
            float(np.dot([float(v) for v in h.ImagePositionPatient], normal)) for h in headers
        )
        step = (along[-1] - along[0]) / (len(along) - 1) if len(along) > 1 else 1.0
        dy, dx = (float(v) for v in first.PixelSpacing)
        return float(first.Rows), float(first.Columns), dy, dx, step, *cosines
    except UNREADABLE:
        return ()


def _patient(key: tuple[str, str], header: Any) -> str:
    return str(header.get("PatientID", "") or "").strip() or key[0]


def _mask(key: tuple[str, str], row: tuple[Path, Any]) -> Series:
    """Return a file of masks with what it is of."""
    file, header = row
    refers, instances, names = set(), set(), []
    for element in header.iterall():
        if element.keyword == "SeriesInstanceUID":
            refers.add(str(element.value))
        elif element.keyword == "ReferencedSOPInstanceUID":
            instances.add(str(element.value))
        elif element.keyword in ("ROIName", "SegmentLabel"):
            names.append(str(element.value).strip())
    seg = str(header.SOPClassUID) in SEGMENTATION
    return replace(
        _series(key, [row]),
        files=(file,),
        uid=f"{key[1]}/{header.get('SOPInstanceUID', file)}",
        kind="seg" if seg else "rtstruct",
        instances=frozenset(instances),
        refers=frozenset(refers - {key[1]}),
        names=tuple(dict.fromkeys(filter(None, names))),
    )


def _stacked(rows: Sequence[tuple[Path, Any]]) -> bool:
    """Say whether pictures without a place are slices that their numbers put in order."""
    if len(rows) < SLICES or str(rows[0][1].get("Modality", "")) not in STACKED:
        return False
    sizes = {(h.get("Rows"), h.get("Columns")) for _, h in rows}
    numbers = {_number(h) for _, h in rows}
    return len(sizes) == 1 and len(numbers) == len(rows) and all(n.isdecimal() for n in numbers)


def _alike(
    rows: Sequence[tuple[Path, Any]],
) -> tuple[list[Any], list[list[Any]], tuple[str, ...]]:
    """Return the slices of one grid, those of others that are volumes too, and what is left out."""
    notes = []
    real = [row for row in rows if not _localizer(row[1])]
    if real and len(real) < len(rows):
        notes.append(_left(len(rows) - len(real), "a localizer's"))
    groups: dict[Any, list[Any]] = {}
    for row in real or rows:
        groups.setdefault(_grid(row[1]), []).append(row)
    main, *others = sorted(groups.values(), key=len, reverse=True)
    few = [group for group in others if len(group) < SLICES]
    if few:
        notes.append(_left(sum(map(len, few)), "of another orientation, size or spacing"))
    return main, [group for group in others if len(group) >= SLICES], tuple(notes)


def _left(n: int, what: str) -> str:
    return f"{n} slice{'s' * (n > 1)} {what} {'are' if n > 1 else 'is'} left out"


def _localizer(header: Any) -> bool:
    said = header.get("ImageType", "") or ""
    words = [said] if isinstance(said, str) else list(said)
    return any(str(word).upper() in ("LOCALIZER", "SCOUT") for word in words)


def _grid(header: Any) -> Any:
    try:
        cosines = tuple(round(float(v), 2) + 0.0 for v in header.ImageOrientationPatient)
        spacing = tuple(round(float(v), 3) for v in header.PixelSpacing)
    except UNREADABLE:
        cosines = spacing = ()
    return header.get("Rows"), header.get("Columns"), cosines, spacing


def _phases(rows: list[tuple[Path, Any]]) -> list[list[tuple[Path, Any]]]:
    """Return the volumes of slices that lie at the same places; all of them where nobody knows."""
    try:
        cosines = [float(v) for v in rows[0][1].ImageOrientationPatient]
        normal = np.cross(cosines[:3], cosines[3:])
        places = [
            round(float(np.dot([float(v) for v in h.ImagePositionPatient], normal)) / SAME_PLACE)
            for _, h in rows
        ]
    except UNREADABLE:
        return [rows]
    if max(Counter(places).values()) == 1:
        return [rows]
    for tag in PHASES:
        groups: dict[str, list[int]] = {}
        for index, (_, header) in enumerate(rows):
            groups.setdefault(str(header.get(tag, "")), []).append(index)
        if len(groups) > 1 and all(_apart(places, g) and len(g) > 1 for g in groups.values()):
            return [[rows[i] for i in group] for group in groups.values()]
    numbers = [_number(h) for _, h in rows]
    n = len(set(places))
    if len(rows) % n == 0 and n > 1 and all(map(str.isdecimal, numbers)):
        order = sorted(range(len(rows)), key=lambda i: int(numbers[i]))
        blocks = [order[i : i + n] for i in range(0, len(order), n)]
        if len(set(numbers)) == len(rows) and all(_apart(places, block) for block in blocks):
            return [[rows[i] for i in block] for block in blocks]
    return [rows]


def _number(header: Any) -> str:
    number = header.get("InstanceNumber")
    return "" if number is None else str(number)


def _apart(places: Sequence[int], group: Sequence[int]) -> bool:
    return len({places[i] for i in group}) == len(group)
