"""DICOM as hospitals have it: mixed series, many frames, compressed pixels, masks of its own."""

import json
import shutil

import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from tests.helpers.scans import SECRETS, nifti, series
from yolo_nas_ext.commands import data
from yolo_nas_ext.data.scans import (
    dicom,
    dicom_masks,
    grids,
    mask_volumes,
    pairing,
    write_back,
)
from yolo_nas_ext.data.scans.volumes import ScanError

SHAPE = (8, 20, 16)  # slices, rows, columns


def noise(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).integers(0, 900, shape).astype(np.int16)


def planes(scan):
    return np.stack([scan.plane(2, k) for k in range(scan.planes(2))])


def read(files):
    found, bad = dicom.find(files)
    assert not bad
    return [dicom.read(one) for one in found], found


def test_a_localizer_in_a_series_is_left_out_and_said(tmp_path):
    uid = generate_uid()
    files = series(tmp_path, noise(), uid=uid)
    kind = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "cosines": (0, 1, 0, 0, 0, -1)}
    files += series(tmp_path, noise(1, (1, 20, 16)), uid=uid, start=50, **kind)
    study = pydicom.dcmread(files[0]).StudyInstanceUID
    same_study(files, study)
    (scan,), _ = read(files)
    assert scan.facts.notes == ("1 slice a localizer's is left out",)
    assert np.array_equal(planes(scan), noise() * 2.0 - 1000)


def same_study(files, study):
    for file in files:
        header = pydicom.dcmread(file)
        header.StudyInstanceUID = study
        header.save_as(file)


@pytest.mark.parametrize("n", [2, 4])
def test_slices_of_another_orientation(n, tmp_path):
    """Few are left out; enough of them are a volume of their own."""
    uid = generate_uid()
    files = series(tmp_path, noise(), uid=uid)
    files += series(tmp_path, noise(1, (n, 20, 16)), uid=uid, start=50, cosines=(0, 1, 0, 0, 0, -1))
    same_study(files, "1.2.3")
    scans, _ = read(files)
    assert np.array_equal(planes(scans[0]), noise() * 2.0 - 1000)
    assert len(scans) == (1 if n == 2 else 2)
    assert bool(scans[0].facts.notes) == (n == 2)


@pytest.mark.parametrize(
    "tag", ["TemporalPositionIdentifier", "AcquisitionNumber", "InstanceNumber"]
)
def test_phases_of_a_series_are_told_apart(tag, tmp_path):
    uid = generate_uid()

    def numbered(phase):
        def change(index, header):
            setattr(header, tag, phase * 100 + index if tag == "InstanceNumber" else phase + 1)

        return change

    files = []
    for phase in range(2):
        files += series(tmp_path, noise(phase), uid=uid, start=20 * phase, change=numbered(phase))
    same_study(files, "1.2.3")
    scans, found = read(files)
    assert [one.phase for one in found] == ["phase1", "phase2"]
    assert all(np.array_equal(planes(s), noise(i) * 2.0 - 1000) for i, s in enumerate(scans))
    assert len({one.patient for one in found}) == 1


def test_phases_share_the_mask_of_their_folder(tmp_path):
    uid = generate_uid()

    def change(phase):
        return lambda index, header: setattr(header, "AcquisitionNumber", phase)

    files = []
    for phase in (1, 2):
        files += series(tmp_path / "in/scans/p1", noise(phase), uid=uid, start=20 * phase,
                        change=change(phase))  # fmt: skip
    same_study(files, "1.2.3")
    nifti(tmp_path / "in/masks/p1.nii.gz", np.ones(SHAPE[::-1], np.uint8))
    found = pairing.find(str(tmp_path / "in"))
    assert [len(entry.masks) for entry in found.entries] == [1, 1]
    assert "phase2 of a series of 8 files" in found.entries[1].name


def test_a_file_that_is_none_and_one_without_a_picture_are_named(tmp_path):
    files = series(tmp_path, noise())
    (tmp_path / "x.dcm").write_text("no DICOM at all")
    header = pydicom.dcmread(files[0])
    for name in ("Rows", "PixelData"):
        delattr(header, name)
    header.SeriesInstanceUID, header.Modality = generate_uid(), "ECG"
    header.save_as(tmp_path / "y.dcm")
    found, bad = dicom.find(sorted(tmp_path.iterdir()))
    assert len(found) == 1
    assert {file.name: reason for file, reason in bad} == {
        "x.dcm": "is no DICOM file, whatever its name says",
        "y.dcm": "is a DICOM file of ECG without a picture",
    }


def test_pixels_that_no_decoder_reads_keep_its_hint(tmp_path):
    file = series(tmp_path, noise(shape=(1, 20, 16)))[0]
    header = pydicom.dcmread(file)
    header.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"  # MPEG2
    header.PixelData = pydicom.encaps.encapsulate([b"\0" * 8])
    header["PixelData"].VR = "OB"
    header.save_as(file)
    (found,), _ = dicom.find([file])
    with pytest.raises(ScanError, match="MPEG2"):
        dicom.read(found)


def enhanced(file, array, order, phases=1):
    """Write a file of many frames, in any order; phases are at the same places."""
    reference = pydicom.dcmread(series(file.parent / "x", array[:1])[0])
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(reference, name)
    for name in ("RescaleSlope", "RescaleIntercept"):
        delattr(reference, name)
    shared, measures, plane, value = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.7, 0.9], 2
    plane.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    value.RescaleSlope, value.RescaleIntercept = 2, -1000
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    shared.PixelValueTransformationSequence = [value]
    frames = []
    for k in [*order] * phases:
        frame, at = Dataset(), Dataset()
        at.ImagePositionPatient = [-20, -30, 5 + 2 * k]
        frame.PlanePositionSequence = [at]
        frames.append(frame)
    reference.SharedFunctionalGroupsSequence = [shared]
    reference.PerFrameFunctionalGroupsSequence = frames
    reference.NumberOfFrames = len(frames)
    stack = [array[k] + 7 * phase for phase in range(phases) for k in order]
    reference.PixelData = np.stack(stack).astype("<i2").tobytes()
    reference.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    reference.file_meta.MediaStorageSOPClassUID = reference.SOPClassUID
    reference.save_as(file)
    return file


def test_many_frames_in_a_file(tmp_path):
    array = noise()
    file = enhanced(tmp_path / "e.dcm", array, [3, 0, 7, 1, 6, 2, 5, 4])
    (scan,), _ = read([file])
    files = series(tmp_path / "plain", array)
    (plain,), _ = read(files)
    assert np.array_equal(planes(scan), planes(plain)) and np.allclose(scan.affine, plain.affine)


def test_volumes_at_the_same_places_in_a_file(tmp_path):
    file = enhanced(tmp_path / "e.dcm", noise(), range(8), phases=2)
    (found,), _ = dicom.find([file])
    with pytest.raises(ScanError, match="volume=0 to volume=1"):
        dicom.read(found)
    assert np.array_equal(planes(dicom.read(found, 1)), (noise() + 7) * 2.0 - 1000)


def segmentation(files, masks, path):
    """Write masks (slices, rows, columns) by name as a DICOM segmentation."""
    headers = [pydicom.dcmread(file) for file in files]
    for header in headers:  # what highdicom copies
        header.PatientBirthDate, header.PatientSex, header.FrameOfReferenceUID = "", "", "1.2.9"
        header.StudyTime, header.StudyID, header.AccessionNumber = "", "", ""
    meaning = codes.SCT.Tissue
    segments = [
        highdicom.seg.SegmentDescription(
            segment_number=n,
            segment_label=name,
            segmented_property_category=meaning,
            segmented_property_type=meaning,
            algorithm_type="MANUAL",
        )
        for n, name in enumerate(masks, 1)
    ]
    seg = highdicom.seg.Segmentation(
        source_images=headers,
        pixel_array=np.stack([*masks.values()], -1).astype(np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=segments,
        series_instance_uid=generate_uid(),
        series_number=9,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="none",
        manufacturer_model_name="none",
        software_versions="1",
        device_serial_number="1",
    )
    seg.save_as(path)


def contours(files, rings, path):
    """Write contours {name: [(slice, points in mm)]} as a structure set."""
    header = pydicom.dcmread(files[0])
    for name in ("PixelData", "Rows", "Columns", "ImagePositionPatient"):
        delattr(header, name)
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    header.SOPInstanceUID, header.SeriesInstanceUID = generate_uid(), generate_uid()
    header.Modality = "RTSTRUCT"
    names, drawn = [], []
    for number, (name, those) in enumerate(rings.items(), 1):
        roi, row = Dataset(), Dataset()
        roi.ROINumber = row.ReferencedROINumber = number
        roi.ROIName = name
        row.ContourSequence = []
        for index, points in those:
            one, image = Dataset(), Dataset()
            image.ReferencedSOPInstanceUID = pydicom.dcmread(files[index]).SOPInstanceUID
            one.ContourImageSequence = [image]
            one.ContourGeometricType = "CLOSED_PLANAR"
            one.ContourData = [f"{v:.6g}" for p in points for v in (*p, 5 + 2 * index)]
            row.ContourSequence.append(one)
        names.append(roi)
        drawn.append(row)
    header.StructureSetROISequence, header.ROIContourSequence = names, drawn
    header.save_as(path)


def patient(folder, name):
    return series(folder / "ct", noise(), PatientID=name)


def test_segmentations_are_masks_by_their_segments_names(tmp_path, capsys):
    liver, tumour = np.zeros((2, *SHAPE), bool)
    liver[2:6, 3:15, 2:14], tumour[3:5, 6:9, 5:8] = True, True
    for index in range(2):
        files = patient(tmp_path / f"in/p{index}", f"P{index}")
        parts = {"tumour": tumour, "liver": liver}
        order = sorted(parts, reverse=bool(index))  # numbered otherwise in each file
        segmentation(files, {n: parts[n] for n in order}, tmp_path / f"in/p{index}/seg.dcm")
    found = pairing.find(str(tmp_path / "in"))
    assert found.names == {1: "liver", 2: "tumour"} and found.inside and not found.bad
    entry = found.entries[0]
    scan = dicom.read(entry.source)
    laid, notes = mask_volumes.read(entry.masks[0], scan, 2, labels={"liver": 1, "tumour": 2})
    assert notes == () and np.array_equal(planes(laid), np.where(tumour, 2, liver))
    args = {"source": str(tmp_path / "in"), "out": str(tmp_path / "out"), "window": "abdomen"}
    assert data.main(args) == 0
    text = (tmp_path / "out/conversion.json").read_text()
    assert json.loads(text)["classes"] == {"liver": 8, "tumour": 4}
    assert not [s for s in SECRETS.values() if s in text + capsys.readouterr().out]


def circle(radius, centre=(-14.0, -23.0), n=900):
    angles = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return [(centre[0] + radius * np.cos(a), centre[1] + radius * np.sin(a)) for a in angles]


def test_contours_are_masks_with_holes(tmp_path):
    """The oracle is the closed form: pixels whose middle lies in the ring."""
    files = patient(tmp_path / "in/p0", "P0")
    rings = [(k, circle(r)) for k in (2, 3) for r in (5.13, 2.21)]
    contours(files, {"ring": rings, "other": [(5, circle(3.07))]}, tmp_path / "in/p0/rs.dcm")
    (entry,) = pairing.find(str(tmp_path / "in")).entries
    scan = dicom.read(entry.source)
    found, _ = mask_volumes.read(entry.masks[0], scan, 2, labels={"other": 1, "ring": 2})
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]]
    distance = np.hypot(-20 + 0.9 * x + 14, -30 + 0.7 * y + 23)
    truth = np.zeros(SHAPE, int)
    truth[2:4] = 2 * ((distance < 5.13) & (distance > 2.21))
    truth[5] = distance < 3.07
    assert (planes(found) != truth).sum() == 0


def test_contours_of_no_slice_are_refused(tmp_path):
    files = patient(tmp_path, "P0")
    contours(files, {"a": [(2, circle(4))]}, tmp_path / "rs.dcm")
    found, _ = dicom.find([*files, tmp_path / "rs.dcm"])
    mask = next(one for one in found if one.kind == "rtstruct")
    away = series(tmp_path / "away", noise(), thick=9.0, cosines=(0, 1, 0, 0, 0, -1))
    (scan,), _ = read(away)
    with pytest.raises(ScanError, match="lie in none of its slices"):
        dicom_masks.read(mask, scan, {"a": 1})


def test_masks_of_nothing_are_orphans(tmp_path):
    patient(tmp_path / "p0", "P0")
    other = series(tmp_path.parent / f"{tmp_path.name}_other", noise(), FrameOfReferenceUID="1.2.7")
    contours(other, {"a": [(2, circle(4))]}, tmp_path / "rs.dcm")
    found = pairing.find(str(tmp_path))
    assert found.orphans == ["rs.dcm"] and not found.entries[0].masks


@pytest.mark.parametrize("corners", [[(1.5, 2.5), (1.5, 7.5), (6.5, 7.5), (6.5, 2.5)]])
def test_a_rectangle_holds_the_points_within(corners):
    found = dicom_masks.inside(np.array(corners), (10, 12))
    truth = np.zeros((10, 12), bool)
    truth[2:7, 3:8] = True
    assert np.array_equal(found, truth)


def test_a_file_without_a_preamble(tmp_path):
    files = series(tmp_path, noise())
    for file in files:
        header = pydicom.dcmread(file)
        header.file_meta = FileMetaDataset()
        header.preamble = None
        pydicom.dcmwrite(
            file, header, implicit_vr=False, little_endian=True, enforce_file_format=False
        )
        assert file.read_bytes()[128:132] != b"DICM"
    (scan,), _ = read(files)
    assert np.array_equal(planes(scan), noise() * 2.0 - 1000)


ROWS = "dcmmask enhanced jpegll jpegls mono1 noplace nopreamble rtstruct seg".split()


@pytest.mark.realdata
@pytest.mark.parametrize("row", ROWS)
def test_dicom_of_the_inputs(row, shared_inputs, tmp_path):
    """Each holds three patients with a box of 9 x 12 pixels in four of ten slices."""
    out = tmp_path / "out"
    assert data.main({"source": str(shared_inputs / "dicom" / row), "out": str(out)}) == 0
    record = json.loads((out / "conversion.json").read_text())
    counts = record["counts"]
    assert (counts["scans"], counts["patients"], counts["objects"]) == (3, 3, 12)
    names = {"rtstruct": "GTV", "seg": "tumour"}
    assert list(record["classes"]) == [names.get(row, "label_1")]
    for file in (out / "labels").rglob("*.txt"):
        numbers = [float(v) for v in file.read_text().split()]  # none in other slices of val
        assert [round(v * n) for v, n in zip(numbers[3:], (40, 48), strict=False)] in ([9, 12], [])


@pytest.mark.realdata
def test_a_palette_of_the_inputs(shared_inputs):
    scans, _ = read(sorted((shared_inputs / "dicom" / "palette").iterdir()))
    assert len(scans) == 3 and all(scan.plane(2, 0).shape[-1] == 3 for scan in scans)


@pytest.mark.realdata
@pytest.mark.parametrize("row", ["jpegll", "jpegls"])
def test_compressed_pixels_as_simpleitk_reads_them(row, shared_inputs):
    folder = shared_inputs / "dicom" / row / "scans" / "p0"
    (scan,), _ = read(sorted(folder.iterdir()))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    truth = sitk.GetArrayFromImage(sitk.DICOMOrient(reader.Execute(), "LPS"))
    assert np.array_equal(planes(scan), truth)


@pytest.mark.realdata
def test_low_is_bright_with_a_window(shared_inputs, tmp_path):
    """MONOCHROME1: the window is of the values, and the picture is turned afterwards."""
    from PIL import Image

    source, out = shared_inputs / "dicom" / "mono1", tmp_path / "out"
    assert (
        data.main({"source": str(source), "out": str(out), "window": "3300/1400", "salt": "s"}) == 0
    )
    folder = source / "scans" / "p0"
    (scan,), _ = read(sorted(folder.iterdir()))
    values = planes(scan)
    pictures = [np.asarray(Image.open(f)) for f in (out / "images").rglob("*.png")]
    expected = 255 - np.rint(np.clip((values - 2600.0) / 1400, 0, 1) * 255)
    assert any(np.abs(p - e).max() <= 1 for p in pictures for e in expected)


def test_copies_of_files_are_left_out_and_said(tmp_path):
    files = series(tmp_path, noise())
    shutil.copy(files[2], tmp_path / "IM0002 (1).dcm")
    (scan,), _ = read([*tmp_path.iterdir()])
    assert scan.facts.notes == ("1 slice of a copied file is left out",)
    assert np.array_equal(planes(scan), noise() * 2.0 - 1000)
    assert not any("other kinds" in note for note in pairing.find(str(tmp_path)).notes)


def test_slices_that_name_no_series_are_of_their_folder(tmp_path):
    for who in "ab":
        series(tmp_path / who, noise(), change=lambda _, h: delattr(h, "SeriesInstanceUID"))
    found = pairing.find(str(tmp_path)).entries
    assert [np.array_equal(planes(dicom.read(e.source)), noise() * 2.0 - 1000) for e in found] == [
        True,
        True,
    ]


def test_a_tilted_gantry_is_where_itk_puts_it_too(tmp_path):
    """ITK knows axes at right angles alone: masks that were drawn with it stand upright."""

    def tilted(index, header):
        header.ImagePositionPatient[1] += 0.8 * index

    files = series(tmp_path / "a", noise(), change=tilted)
    (scan,), _ = read(files)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "a")))
    seen = reader.Execute()
    labels = np.random.default_rng(0).integers(0, 3, noise().shape).astype(np.uint8)
    mask = sitk.GetImageFromArray(labels)
    mask.CopyInformation(seen)
    sitk.WriteImage(mask, str(tmp_path / "m.nii.gz"))
    found, notes = mask_volumes.read(tmp_path / "m.nii.gz", scan, 2)
    assert notes == (grids.OTHERWISE,) and np.array_equal(planes(found), labels)
    file = write_back.write(scan, found.stored, tmp_path / "back", "nifti")
    again = sitk.ReadImage(str(file))
    assert np.array_equal(sitk.GetArrayFromImage(again), labels)
    for of in ("GetOrigin", "GetSpacing", "GetDirection"):
        assert getattr(again, of)() == pytest.approx(getattr(seen, of)(), abs=1e-5), of
    np.testing.assert_allclose(nib.load(file).affine[:3, 2], [0, -0.8, 2.0], atol=1e-6)
