"""Every key of `yolo nas-predict`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from yolo_nas_ext.config.fields import BATCH, one_of, optional, path, real, size, text, whole
from yolo_nas_ext.config.settings import Settings, key

READ = "What is read"
SEEN = "What counts"
WRITTEN = "What is written"
FORMATS = ("auto", "nifti", "nrrd", "mha", "dicom-seg")


@dataclass(frozen=True, kw_only=True)
class PredictSettings(Settings):
    """The settings of one prediction of scans."""

    command: ClassVar[str] = "nas-predict"
    about: ClassVar[str] = """\
yolo nas-predict model=<best.pt> source=<scan, folder or DICOM series> out=<folder> [key=value ...]
yolo nas-predict model=<best.pt> bundle=<folder>

What a model finds in scans, in the scans' own space: masks, findings.csv in mm of the patient, and
sheets of slices with what was found drawn on them. Scans are read as the conversion of the model's
training data read them. Nothing that names a patient is written. An interrupted run goes on. With
bundle= nothing is predicted: the model becomes a bundle of MONAI, for monai.bundle run."""

    model: str = key(None, path, READ, "checkpoint that was trained on scans, a .pt")
    source: str = key(
        None, path, READ, "scan, folder, glob or DICOM series; masks beside scans are not looked at"
    )
    data: str | None = key(
        None,
        optional(text),
        READ,
        "data set of nas-data that says how scans are read; if empty the checkpoint says it",
    )
    group: str | None = key(
        None,
        optional(text),
        READ,
        "regular expression that finds the patient in a path; if empty DICOM or names say it",
    )
    volume: int | None = key(
        None, optional(whole(0)), READ, "which volume of a file with several; as converted if empty"
    )
    conf: float | None = key(
        None,
        optional(real(0, 1)),
        SEEN,
        "score from which something counts; if empty the one at which the checkpoint's Dice was "
        "best on held-out scans, else 0.25",
    )
    imgsz: int | None = key(
        None, optional(size), SEEN, "image size in pixels; that of the training if empty"
    )
    batch: int = key(16, whole(1, BATCH), SEEN, "slices at a time")
    device: str | None = key(None, optional(text), SEEN, "cpu, mps or the number of a GPU")
    out: str = key(None, path, WRITTEN, "folder to create")
    format: str = key(
        "auto",
        one_of(*FORMATS),
        WRITTEN,
        "format of masks: nifti, nrrd, mha, dicom-seg, or auto: as the scan's file, and of DICOM "
        "nifti and dicom-seg",
    )
    salt: str | None = key(
        None,
        optional(text),
        WRITTEN,
        "secret of the pseudonyms that files are called by; random if empty",
    )
    linkage: str | None = key(
        None,
        optional(text),
        WRITTEN,
        "new file for the pseudonym of every scan, outside of out; keep it secret",
    )
    bundle: str | None = key(
        None, optional(text), WRITTEN, "folder to create for a bundle of MONAI, in place of out"
    )


HELP = (PredictSettings,)
