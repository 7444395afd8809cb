"""Phantoms with known lesions as NIfTI and DICOM files, for tests."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def nifti(path: Path, array: np.ndarray, affine=None) -> Path:
    """Write an array as NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.eye(4) if affine is None else affine), path)
    return path


def phantom(shape=(40, 44, 6), boxes=((5, 8, 1, 12, 15, 4, 1),), noise=0):
    """Return an image and its label map: boxes (x0, y0, z0, x1, y1, z1, label) brighter."""
    rng = np.random.default_rng(noise)
    image = rng.integers(0, 60, shape).astype(np.int16)
    mask = np.zeros(shape, np.uint8)
    for x0, y0, z0, x1, y1, z1, label in boxes:
        mask[x0:x1, y0:y1, z0:z1] = label
    image[mask > 0] += 500
    return image, mask


def pairs(folder: Path, n=4, **options) -> Path:
    """Write scans with masks under ``images`` and ``labels``, a file a patient."""
    for index in range(n):
        image, mask = phantom(noise=index, **options)
        nifti(folder / "images" / f"case{index}.nii.gz", image)
        nifti(folder / "labels" / f"case{index}.nii.gz", mask)
    return folder


SECRETS = {
    "PatientName": "Quillfeather^Ottoline",
    "PatientID": "MRN-7741902",
    "StudyDate": "19991231",
    "PatientBirthDate": "19450917",
    "InstitutionName": "Saint Zebedee Hospital",
    "AccessionNumber": "ACC55512",
    "ReferringPhysicianName": "Grumblethorpe^Hal",
    "StudyDescription": "THORAX WITHOUT",
    "OperatorsName": "Nightingale^Flo",
}


def series(
    folder: Path,
    array: np.ndarray,
    *,
    cosines=(1, 0, 0, 0, 1, 0),
    spacing=(0.7, 0.9),
    thick=2.0,
    slope=2.0,
    intercept=-1000.0,
    uid=None,
    drop=(),
    change=None,
    start=0,
    **tags,
) -> list[Path]:
    """Write an array (slices, rows, columns) as a DICOM series; `change` edits each header."""
    folder.mkdir(parents=True, exist_ok=True)
    uid, study = uid or generate_uid(), generate_uid()
    normal = np.cross(cosines[:3], cosines[3:])
    files = []
    for index, plane in enumerate(array):
        if index in drop:
            continue
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        file = folder / f"IM{start + len(files):04d}.dcm"
        header = FileDataset(file, {}, file_meta=meta, preamble=b"\0" * 128)
        for name, value in {**SECRETS, "Modality": "CT", **tags}.items():
            setattr(header, name, value)
        header.SOPClassUID, header.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        header.SeriesInstanceUID, header.StudyInstanceUID = uid, study
        header.Rows, header.Columns = plane.shape
        header.PixelSpacing = list(spacing)
        header.ImageOrientationPatient = list(cosines)
        header.ImagePositionPatient = [
            float(v) for v in np.array([-20, -30, 5]) + normal * thick * index
        ]
        header.SliceThickness = thick
        header.RescaleSlope, header.RescaleIntercept = slope, intercept
        header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
        header.BitsAllocated = header.BitsStored = 16
        header.HighBit, header.PixelRepresentation = 15, 1
        header.add_new((0x0009, 0x0010), "LO", "ACME SECRET")
        header.add_new((0x0009, 0x1001), "LO", "Quillfeather private")
        header.PixelData = plane.astype("<i2").tobytes()
        if change:
            change(index, header)
        pydicom.dcmwrite(file, header, enforce_file_format=True)
        files.append(file)
    return files
