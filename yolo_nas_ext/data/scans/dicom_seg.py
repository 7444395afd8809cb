"""Labels as a DICOM segmentation, by `highdicom`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset

from yolo_nas_ext import __version__
from yolo_nas_ext.data.scans.volumes import ScanError

# What a segmentation needs of each slice: where it is, and the identifiers that viewers join by.
KEPT = (
    "SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID Rows "
    "Columns PixelSpacing SliceThickness ImagePositionPatient ImageOrientationPatient Modality "
    "SpacingBetweenSlices InstanceNumber"
).split()
EMPTY = (
    "PatientName PatientBirthDate PatientSex StudyID StudyDate StudyTime AccessionNumber "
    "ReferringPhysicianName"
).split()
OFF = 0.1  # slices that a file may lie off the grid


def segmentation(
    files: Sequence[Path],
    voxels: np.ndarray,
    affine: np.ndarray,
    names: Mapping[int, str],
    patient: str,
) -> Any:
    """Return the segmentation of a series.

    Args:
        files: The series.
        voxels: Labels (columns, rows, slices) in the order of the slices along their normal.
        affine: From indices to mm in DICOM's directions.
        names: Class names by label, a segment each.
        patient: What to call the patient.

    Raises:
        ScanError: For a series whose slices are not where the labels are.
    """
    import highdicom as hd
    from pydicom.sr.codedict import codes

    headers, planes = [], []
    inverse = np.linalg.inv(affine)
    for file in files:
        header = pydicom.dcmread(file, stop_before_pixels=True)
        place = [*(float(v) for v in header.get("ImagePositionPatient", ())), 1.0]
        if len(place) != 4:
            continue
        x, y, z = (inverse @ place)[:3]
        if max(abs(x), abs(y), abs(z - round(z))) > OFF or not 0 <= round(z) < voxels.shape[2]:
            continue  # a localiser, or another phase
        headers.append(_bare(header, patient))
        planes.append(round(z))
    if sorted(planes) != list(range(voxels.shape[2])):
        raise ScanError("geometry", "has slices that no DICOM-SEG can lie on")
    tissue = codes.SCT.MorphologicallyAbnormalStructure
    segments = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=name[:64],
            segmented_property_category=tissue,
            segmented_property_type=tissue,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=hd.AlgorithmIdentificationSequence(
                name="yolo_nas_ext",
                version=__version__,
                family=codes.DCM.ArtificialIntelligence,
            ),
        )
        for number, name in enumerate(names.values(), 1)
    ]
    order = np.argsort(planes)
    numbered = np.zeros(voxels.shape, np.uint8)
    for number, label in enumerate(names, 1):
        numbered[voxels == label] = number
    try:
        return hd.seg.Segmentation(
            source_images=[headers[i] for i in order],
            pixel_array=np.ascontiguousarray(numbered.transpose(2, 1, 0)),
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=segments,
            series_instance_uid=hd.UID(),
            series_number=900,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer="yolo_nas_ext",
            manufacturer_model_name="yolo nas-predict",
            software_versions=__version__,
            device_serial_number="0",
            omit_empty_frames=bool(numbered.any()),
        )
    except (AttributeError, TypeError, ValueError, KeyError) as error:  # of what headers lack
        reason = " ".join(str(error).split())[:100]
        raise ScanError(
            "geometry", f"has headers that no DICOM-SEG can refer to ({reason})"
        ) from error


def _bare(header: Any, patient: str) -> Dataset:
    """Return a header with what a segmentation needs, and nothing of the patient."""
    bare = Dataset()
    for name in KEPT:
        if name in header:
            setattr(bare, name, header[name].value)
    for name in EMPTY:
        setattr(bare, name, None)
    bare.PatientID = patient
    bare.file_meta = FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = header.file_meta.TransferSyntaxUID
    return bare
