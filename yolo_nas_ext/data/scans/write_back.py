"""Labels of slices back into the space of their scan, and into a file that lies on it.

A file holds labels and geometry, and nothing else of the scan's header: names and dates stay out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import nrrd
import numpy as np
from nibabel import orientations
from PIL import Image

from yolo_nas_ext.data.scans.volumes import STANDARD, Scan, Volume, suffix_of

FORMATS = {"nifti": ".nii.gz", "nrrd": ".nrrd", "mha": ".mha", "dicom-seg": ".seg.dcm"}
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # between NIfTI's directions and DICOM's
# Of a NIfTI header what says where voxels are; two readers may take either of its two ways.
PLACE = (
    "qform_code sform_code quatern_b quatern_c quatern_d qoffset_x qoffset_y qoffset_z srow_x "
    "srow_y srow_z xyzt_units"
).split()


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels in the space of a scan.

    Attributes:
        values: Whole numbers; of a volume (x, y, z) turned as `volumes.Volume` is, of pictures
            (pages, h, w).
        scores: How sure each is, 0 to 1, of the same shape.
    """

    values: np.ndarray
    scores: np.ndarray

    def put(self, scan: Scan, axis: int, index: int, labels: np.ndarray, sure: np.ndarray) -> None:
        """Write a slice as it is looked at, in the size that it was cut at.

        Args:
            scan: What it was cut from.
            axis: Across which axis.
            index: Number of the slice.
            labels: (h, w) whole numbers, 0 for nothing.
            sure: Scores (h, w).
        """
        if not labels.any():
            return
        height, width = scan.plane(axis, index).shape[:2]
        shape = height, width
        labels, sure = resized(labels, shape), _near(sure, shape)
        for into, plane in ((self.values, labels), (self.scores, np.where(labels > 0, sure, 0))):
            if isinstance(scan, Volume):
                turned = plane if axis == 2 else plane[::-1]  # as `Volume.plane` turns it
                into[(slice(None),) * axis + (index,)] = turned.T
            else:
                into[index] = plane


def empty(scan: Scan, axis: int, most: int) -> Labels:
    """Return labels of a scan with nothing in it.

    Args:
        scan: The scan.
        axis: The axis that it is cut across.
        most: The largest label.
    """
    kind = np.uint8 if most < 256 else np.uint16
    if isinstance(scan, Volume):
        shape: tuple[int, ...] = scan.stored.shape
    else:
        shape = (scan.planes(axis), *scan.plane(axis, 0).shape[:2])
    return Labels(np.zeros(shape, kind), np.zeros(shape, np.float16))


def resized(labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return a label map (h, w) at another size.

    Where a slice was cut at a finer size its pixels lie around those of the scan, and the nearest
    is the label that a pixel was made of. Where it was coarser, borders are drawn between pixels
    rather than in steps: of each pixel the label that has most of it when interpolated.
    """
    smaller = tuple(min(old, new) for old, new in zip(labels.shape, shape, strict=True))
    labels = labels[np.ix_(*map(_nearest, smaller, labels.shape))]
    if labels.shape == shape:
        return labels
    from monai.transforms.spatial.array import Resize

    present = np.unique(labels)
    parts = np.stack([labels == value for value in present]).astype(np.float32)
    resize: Any = Resize(shape, mode="bilinear")
    return present[np.asarray(resize(parts)).argmax(0)]


def _nearest(to: int, of: int) -> np.ndarray:
    """Return for each of some pixels the one of a row of others that is nearest."""
    return np.minimum((np.arange(to) + 0.5) * of / to, of - 1).astype(int)


def _near(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return a plane at another size, each pixel as the nearest one, or the largest around it."""
    if values.shape == shape:
        return values
    from scipy import ndimage

    # Where labels grow over a border by a pixel, the score of the nearest label is theirs.
    return ndimage.maximum_filter(values, 3)[np.ix_(*map(_nearest, shape, values.shape))]


def native(volume: Volume, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what lies on a volume in the order of its file, and that order's affine (4, 4)."""
    change = _to_file(volume)
    affine = volume.affine @ orientations.inv_ornt_aff(change, values.shape)
    return orientations.apply_orientation(values, change), affine


def file_indices(volume: Volume, indices: np.ndarray) -> np.ndarray:
    """Return indices (n, 3) of a volume as those of its file, counted from 0."""
    change = _to_file(volume)
    result = np.empty_like(indices)
    for axis, (to, sign) in enumerate(change.astype(int)):
        last = volume.stored.shape[axis] - 1
        result[:, to] = indices[:, axis] if sign > 0 else last - indices[:, axis]
    return result


def _to_file(volume: Volume) -> np.ndarray:
    own = orientations.axcodes2ornt(tuple(volume.was or "".join(STANDARD)))
    return orientations.ornt_transform(orientations.axcodes2ornt(STANDARD), own)


def write(
    scan: Scan, values: np.ndarray, path: Path, kind: str, *, source: Path | None = None
) -> Path:
    """Write labels that lie on a scan and return the file.

    Args:
        scan: The scan.
        values: See `Labels`.
        path: Where to, without a suffix.
        kind: Of `FORMATS` but DICOM's; pictures are written as PNG or TIFF.
        source: The scan's file; of NIfTI its header says where voxels are.
    """
    if not isinstance(scan, Volume):
        return _picture(values, path)
    voxels, affine = native(scan, values)
    file = path.with_name(path.name + FORMATS[kind])
    if kind == "nifti":
        image: Any = nib.Nifti1Image(np.asfortranarray(voxels), affine)  # type: ignore[attr-defined]
        if source is not None and suffix_of(source) in (".nii", ".nii.gz"):
            _same_place(image, source)
        elif (other := scan.facts.other) is not None:  # of tilted slices, that ITK opens the file
            image.set_qform(other, "scanner")
            image.header["pixdim"][3] = np.linalg.norm(affine[:3, 2])
        image.to_filename(file)
    elif kind == "nrrd":
        directions = (LPS @ affine)[:3, :3].T
        header = {
            "space": "left-posterior-superior",
            "space directions": directions,
            "space origin": (LPS @ affine)[:3, 3],
            "encoding": "gzip",
        }
        nrrd.write(str(file), voxels, header, index_order="F")
    else:
        _mha(file, voxels, LPS @ affine)
    return file


def _same_place(image: Any, source: Path) -> None:
    """Copy of a NIfTI header where its voxels are, to the bit."""
    other: Any = nib.load(source).header  # type: ignore[attr-defined]
    for name in PLACE:
        image.header[name] = other[name]
    sizes = np.array(image.header["pixdim"])
    own = np.array(other["pixdim"])[:4]
    sizes[:4] = np.where(own == 0, sizes[:4], own)
    image.header["pixdim"] = sizes


def _mha(file: Path, voxels: np.ndarray, affine: np.ndarray) -> None:
    """Write a MetaImage, compressed.

    Args:
        file: Where to.
        voxels: Labels (x, y, z).
        affine: From indices to mm in DICOM's directions.
    """
    import SimpleITK as sitk

    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.transpose(2, 1, 0)))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    sitk.WriteImage(image, str(file), useCompression=True)


def _picture(values: np.ndarray, path: Path) -> Path:
    """Write the labels of a picture as PNG, of several pages as TIFF."""
    pages = [Image.fromarray(page) for page in values]
    if len(pages) == 1:
        file = path.with_name(path.name + ".png")
        pages[0].save(file)
    else:
        file = path.with_name(path.name + ".tif")
        pages[0].save(file, save_all=True, append_images=pages[1:], compression="tiff_deflate")
    return file


def format_of(source: Path | None) -> str:
    """Return the format of a scan's file; NIfTI for those that no labels are written in."""
    suffix = suffix_of(source) if source is not None else ""
    return {".nrrd": "nrrd", ".nhdr": "nrrd", ".mha": "mha", ".mhd": "mha"}.get(suffix, "nifti")


def dicom_seg(
    files: Sequence[Path], scan: Volume, values: np.ndarray, path: Path, names: dict[int, str]
) -> Path:
    """Write labels as a DICOM-SEG on the series that they lie on, by `highdicom`.

    It names the series and the study by their identifiers, as viewers find the scan by them, and
    its patient by a pseudonym; no other attribute of the patient or of the study is copied.

    Args:
        files: The series.
        scan: Its volume.
        values: Labels (x, y, z), see `Labels`.
        path: Where to, without a suffix; its name is the pseudonym.
        names: Class names by label.

    Raises:
        ScanError: Where slices do not lie on a regular grid.
    """
    from yolo_nas_ext.data.scans.dicom_seg import segmentation

    voxels, affine = native(scan, values)
    file = path.with_name(path.name + FORMATS["dicom-seg"])
    segmentation(files, voxels, LPS @ affine, names, path.name).save_as(file)
    return file
