"""What a list of files holds: volumes and pictures, DICOM series, masks of DICOM, and the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from yolo_nas_ext.data.scans import series
from yolo_nas_ext.data.scans.paired import Source
from yolo_nas_ext.data.scans.series import Series
from yolo_nas_ext.data.scans.volumes import PICTURES, VOLUMES, stem_of, suffix_of

NOT_READ = {
    **dict.fromkeys((".mnc", ".gipl", ".vtk", ".vti", ".mif", ".img", ".raw", ".par", ".rec"),
                    "is of a kind that is not read; save it as NIfTI or NRRD"),
    **dict.fromkeys((".npy", ".npz", ".mat", ".h5", ".hdf5", ".pt", ".pkl"),
                    "holds numbers without a place; save it as NIfTI or NRRD"),
    **dict.fromkeys((".svs", ".ndpi", ".czi", ".lif", ".nd2", ".scn", ".mrxs", ".vsi"),
                    "is of a microscope's own kind; export its planes as TIFF"),
    **dict.fromkeys((".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar"),
                    "is an archive; unpack it"),
}  # fmt: skip
VOXELS = {".img": (".hdr",), ".raw": (".mhd", ".nhdr"), ".zraw": (".mhd",)}  # of a header beside
HEADERS = (".mhd", ".nhdr", ".hdr")


@dataclass(frozen=True, slots=True)
class Items:
    """What files hold.

    Attributes:
        plain: Scans and masks by what they are called by: a file's path, or a series' folder.
        masks: Masks of DICOM that say themselves what they are of.
        bad: Files that cannot be read, each with the reason.
        notes: What is left out, for the user.
    """

    plain: dict[Path, Source]
    masks: list[Series]
    bad: list[tuple[Path, str]]
    notes: list[str]


def find(files: Sequence[Path], base: Path) -> Items:
    """Return what files hold.

    Args:
        files: The files.
        base: The folder that paths are relative to.
    """
    found, bad = series.find([f for f in files if series.may_be(f)])
    scans = [s for s in found if s.kind == "scan"]
    dicom = {f for s in found for f in (*s.files, *s.left)} | {f for f, _ in bad}
    flat = [f for f in files if suffix_of(f) in (*VOLUMES, *PICTURES)]
    notes = []
    if scans or any(suffix_of(f) in VOLUMES for f in flat):  # pictures beside volumes show them
        pictures = [f for f in flat if suffix_of(f) in PICTURES]
        flat = [f for f in flat if suffix_of(f) not in PICTURES]
        if pictures:
            first = pictures[0].relative_to(base)
            notes.append(f"{len(pictures)} pictures beside volumes are left out, such as {first}")
    plain: dict[Path, Source] = {f: f for f in flat}
    for one in scans:
        path = _path(one, base)
        n = 2
        while path in plain:
            path = path.with_name(f"{path.name} series{n}")
            n += 1
        plain[path] = one
    rest = [f for f in files if f not in dicom and suffix_of(f) not in (*VOLUMES, *PICTURES)]
    every = {*files}
    rest = [f for f in rest if not _of_a_header(f, every)]
    bad += [(f, reason) for f in rest if (reason := NOT_READ.get(suffix_of(f)))]
    if others := Counter(suffix_of(f) or f.name for f in rest if suffix_of(f) not in NOT_READ):
        shown = ", ".join(f"{kind} ({n})" for kind, n in sorted(others.items())[:8])
        notes.append(f"files of other kinds are not read: {shown}")
    return Items(plain, [s for s in found if s.kind != "scan"], bad, notes)


def _path(one: Series, base: Path) -> Path:
    """Return what a series is called by: its folder, or its file where it is one of a kind."""
    first = one.files[0]
    if len(one.files) == 1 or first.parent == base:
        path = first.with_name(stem_of(first)) if len(one.files) == 1 else base / base.name
    else:
        path = first.parent
    return path.with_name(f"{path.name}_{one.phase}") if one.phase else path


def _of_a_header(file: Path, files: set[Path]) -> bool:
    """Say whether a file holds the voxels of a header beside it."""
    kinds = VOXELS.get(suffix_of(file), ())
    beside = [file.with_name(stem_of(file) + kind) for kind in kinds]
    if suffix_of(file) == ".gz":  # ``a.raw.gz``
        beside = [file.with_name(stem_of(Path(stem_of(file))) + kind) for kind in HEADERS]
    return any(header in files for header in beside)
