"""Orientation and values of volumes; the oracles are nibabel, SimpleITK and known phantoms."""

import gzip
import itertools
import random
import tracemalloc

import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from tests.helpers.scans import nifti, phantom, series
from yolo_nas_ext.data.scans import dicom, grids, masks, reading, slices
from yolo_nas_ext.data.scans.options import Cut
from yolo_nas_ext.data.scans.slices import cut, survey
from yolo_nas_ext.data.scans.volumes import ScanError

CODES = [
    "".join(pick)
    for order in itertools.permutations(("LR", "PA", "SI"))
    for pick in itertools.product(*order)
]


def pieces(scan, mask, **options):
    how = Cut(empty=1.0, polygons=True, **options)
    return list(cut(scan, [mask], how, survey(scan, how.axis), rng=random.Random(0)))


def oriented(array, spacing, codes, path, degrees=7):
    """Save an array, given in the order L, P, S, as a file with axes of other directions.

    They are turned by some degrees, as those of an oblique acquisition are.
    """
    a = np.deg2rad(degrees)
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])  # LPS indices to RAS mm
    turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    affine[:2, :2] = turn @ affine[:2, :2]
    image = nib.Nifti1Image(array, affine)
    now = nib.orientations.io_orientation(affine)
    then = nib.orientations.axcodes2ornt(codes)
    nib.save(image.as_reoriented(nib.orientations.ornt_transform(now, then)), path)
    return path


@pytest.mark.parametrize("codes", CODES)
def test_boxes_of_known_lesions_in_every_orientation(codes, tmp_path):
    """The phantom is anisotropic; its lesion's box is known in each of the three cuts."""
    spacing = (0.8, 1.1, 3.0)
    image, mask = phantom((40, 44, 14), [(5, 8, 1, 12, 20, 4, 1)])
    scan = oriented(image, spacing, codes, tmp_path / "image.nii")
    label = oriented(mask, spacing, codes, tmp_path / "mask.nii.gz")
    scan, label = reading.read(scan), masks.labels(label)
    assert grids.lay(scan, label, 2) == (label, ())
    assert np.allclose(scan.spacing, spacing) and scan.was == codes
    expected = {
        2: ((5, 8, 12, 20), (1, 4), 14),  # x is left, y is back
        1: ((5, 14 - 4, 12, 14 - 1), (8, 20), 44),  # rows from head to foot
        0: ((8, 14 - 4, 20, 14 - 1), (5, 12), 40),
    }
    for axis, (box, (first, last), n) in expected.items():
        found = pieces(scan, label, axis=axis)
        assert len(found) == n
        assert [p.index for p in found if p.found] == list(range(first, last))
        assert {f.box for p in found for f in p.found} == {box}


@pytest.mark.parametrize("target", [0.5, 1.7, -1.0])
def test_boxes_are_within_a_pixel_after_resampling(target, tmp_path):
    spacing = (0.8, 1.1, 3.0)
    image, mask = phantom((60, 64, 4), [(11, 18, 1, 32, 40, 3, 2)])
    scan = reading.read(oriented(image, spacing, "RAS", tmp_path / "i.nii"))
    label = masks.labels(oriented(mask, spacing, "RAS", tmp_path / "m.nii"))
    mm = 0.8 if target < 0 else target
    for piece in pieces(scan, label, spacing=target):
        assert abs(piece.pixels.shape[0] - 64 * 1.1 / mm) <= 0.5
        for found in piece.found:
            true = np.array([11 * 0.8, 18 * 1.1, 32 * 0.8, 40 * 1.1]) / mm
            assert np.abs(np.array(found.box) - true).max() <= 1


def test_values_are_scaled_and_wide_types_read_in_slabs(tmp_path):
    array = np.random.default_rng(0).normal(size=(12, 13, 40))
    scaled = nib.Nifti1Image(array, np.diag([2, 2, 2, 1]))
    scaled.set_data_dtype(np.int16)  # nibabel chooses a slope
    nib.save(scaled, tmp_path / "scaled.nii.gz")
    nib.save(nib.Nifti1Image(array, np.diag([2, 2, 2, 1])), tmp_path / "wide.nii.gz")
    for name, tolerance in (("scaled", 1e-3), ("wide", 1e-6)):
        scan = reading.read(tmp_path / f"{name}.nii.gz")
        assert scan.stored.dtype.itemsize <= 4
        truth = nib.load(tmp_path / f"{name}.nii.gz").get_fdata()
        for k in (0, 17, 39):  # a RAS file, looked at from the feet: both axes are turned
            assert np.abs(scan.plane(2, k) - truth[::-1, ::-1, k].T).max() < tolerance


@pytest.mark.parametrize("space", ["left-posterior-superior", "right-anterior-superior"])
def test_nrrd_as_simpleitk_reads_it(space, tmp_path):
    array = np.random.default_rng(1).integers(-500, 500, (11, 12, 10)).astype(np.int16)
    header = {
        "space": space,
        "space origin": [1.0, -2.0, 3.0],
        "space directions": [[0, 1.5, 0], [0.7, 0, 0], [0, 0, -2.0]],
    }
    nrrd.write(str(tmp_path / "scan.nrrd"), array, header)
    scan = reading.read(tmp_path / "scan.nrrd")
    oracle = sitk.DICOMOrient(sitk.ReadImage(str(tmp_path / "scan.nrrd")), "LPS")
    assert np.allclose(scan.spacing, oracle.GetSpacing())
    truth = sitk.GetArrayFromImage(oracle)  # slices, rows, columns
    assert all(np.array_equal(scan.plane(2, k), truth[k]) for k in range(len(truth)))
    corner = np.diag([-1, -1, 1]) @ scan.affine[:3, 3]
    assert np.allclose(corner, oracle.GetOrigin())


def test_two_and_a_half_dimensions_show_the_neighbours(tmp_path):
    array = np.zeros((20, 20, 5), np.uint8) + np.arange(5, dtype=np.uint8) * 60
    scan = reading.read(nifti(tmp_path / "a.nii", array))
    mask = masks.labels(nifti(tmp_path / "m.nii", np.ones((20, 20, 5), np.uint8)))
    found = pieces(scan, mask, channels=3, window=(0.0, 255.0))
    assert [tuple(p.pixels[3, 4]) for p in found] == [
        (0, 0, 60),
        (0, 60, 120),
        (60, 120, 180),
        (120, 180, 240),
        (180, 240, 240),
    ]


def test_dicom_as_simpleitk_reads_it(tmp_path):
    """Sagittal slices with a slope, named against their order, as the worst a scanner does."""
    array = np.random.default_rng(2).integers(0, 900, (9, 14, 12)).astype(np.int16)
    files = series(tmp_path / "s", array[::-1], cosines=(0, 1, 0, 0, 0, -1))
    (found,), bad = dicom.find(files)
    scan = dicom.read(found)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "s")))
    oracle = sitk.DICOMOrient(reader.Execute(), "LPS")
    truth = sitk.GetArrayFromImage(oracle)
    assert not bad and np.allclose(scan.spacing, oracle.GetSpacing(), atol=1e-4)
    assert np.allclose(np.diag([-1, -1, 1]) @ scan.affine[:3, 3], oracle.GetOrigin(), atol=1e-4)
    assert all(np.allclose(scan.plane(2, k), truth[k]) for k in range(len(truth)))
    assert truth.min() < -900  # Hounsfield units rather than stored numbers


@pytest.mark.realdata
def test_a_real_series_as_simpleitk_reads_it(shared_data):
    folder = shared_data / "dicom_ct"
    (found,), bad = dicom.find(sorted(folder.iterdir()))
    scan = dicom.read(found)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    truth = sitk.GetArrayFromImage(sitk.DICOMOrient(reader.Execute(), "LPS"))
    assert not bad and truth.shape == scan.stored.shape[::-1]
    assert all(np.array_equal(scan.plane(2, k), truth[k]) for k in range(len(truth)))


def test_slices_with_scales_of_their_own(tmp_path):
    array = np.full((4, 10, 10), 100, np.int16)

    def change(index, header):
        header.RescaleSlope = 1.0 + index

    (found,), _ = dicom.find(series(tmp_path, array, change=change))
    scan = dicom.read(found)
    assert [float(scan.plane(2, k)[0, 0]) for k in range(4)] == [-900, -800, -700, -600]


def test_several_series_in_a_folder_are_told_apart(tmp_path):
    array = np.zeros((3, 10, 10), np.int16)
    series(tmp_path, array)
    series(tmp_path, array + 5, start=10)
    found, _ = dicom.find(sorted(tmp_path.iterdir()))
    assert [len(s.files) for s in found] == [3, 3]
    assert {float(dicom.read(s).plane(2, 0)[0, 0]) for s in found} == {-1000.0, -990.0}


def at_one_place(index, header):
    header.ImagePositionPatient = [0, 0, 4.0 * (index // 2)]
    header.InstanceNumber = 1


def cut_short(index, header):
    if index == 1:
        header.PixelData = header.PixelData[:50]


def in_frames(index, header):
    header.NumberOfFrames = 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop": (2,)}, "misses 1 slice behind slice 2 of 5"),
        ({"change": at_one_place}, "two slices at one place"),
        ({"change": cut_short}, "IM0001.dcm that cannot be decoded"),
        ({"change": in_frames}, "2 frames without a place"),
    ],
)
def test_bad_series(options, message, tmp_path):
    (found,), _ = dicom.find(series(tmp_path, np.zeros((6, 10, 10), np.int16), **options))
    with pytest.raises(ScanError, match=message):
        dicom.read(found)


def test_an_x_ray_is_a_picture_and_low_is_bright(tmp_path):
    def change(index, header):
        del header.ImagePositionPatient, header.ImageOrientationPatient
        header.PhotometricInterpretation = "MONOCHROME1"
        header.Modality, header.BurnedInAnnotation = "DX", "YES"

    array = np.arange(400).reshape(1, 20, 20).astype(np.int16)
    (found,), _ = dicom.find(series(tmp_path, array, change=change, slope=1, intercept=0))
    scan = dicom.read(found)
    assert scan.planes(2) == 1 and scan.facts.text
    (seen,) = cut(scan, [], Cut(window=(0.0, 399.0)), survey(scan, 2), rng=random.Random(0))
    assert scan.plane(2, 0)[0, 0] == 0 and seen.pixels[0, 0] == 255 and seen.pixels[19, 19] == 0


def test_pictures_of_all_kinds(tmp_path):
    wide = (np.arange(400).reshape(20, 20) * 100).astype(np.uint16)
    colour = np.zeros((20, 20, 4), np.uint8)
    colour[..., 0], colour[..., 3] = 200, 255
    grey = np.stack([np.full((20, 20), 7, np.uint8)] * 3, -1)
    for name, array in {"wide": wide, "colour": colour, "grey": grey}.items():
        Image.fromarray(array).save(tmp_path / f"{name}.png")
    assert np.array_equal(reading.read(tmp_path / "wide.png").plane(2, 0), wide)
    assert reading.read(tmp_path / "colour.png").plane(2, 0).shape == (20, 20, 3)
    assert reading.read(tmp_path / "colour.png").facts.colour
    assert reading.read(tmp_path / "grey.png").plane(2, 0).shape == (20, 20)


def test_masks_of_16_bits_and_of_colours(tmp_path):
    wide = np.zeros((12, 12), np.uint16)
    wide[2:4, 2:4], wide[6:9, 6:9] = 300, 40_000
    colour = np.zeros((12, 12, 4), np.uint8)
    colour[2:4, 2:4] = 255, 0, 0, 255
    colour[6:9, 6:9] = 0, 255, 0, 255
    colour[10:, 10:] = 9, 9, 9, 0  # not there
    for name, array in {"wide": wide, "colour": colour}.items():
        Image.fromarray(array).save(tmp_path / f"{name}.png")
        # Colours that come back in all masks are classes; labels of 16 bits are objects.
        seen = masks.meaning([masks.look(tmp_path / f"{name}.png")])
        assert seen.instances == (name == "wide")
    read = masks.labels(tmp_path / "wide.png").plane(2, 0)
    assert sorted(np.unique(read)) == [0, 300, 40_000]
    read = masks.labels(tmp_path / "colour.png").plane(2, 0)
    assert len(np.unique(read)) == 3 and read[11, 11] == 0
    plain = np.zeros((12, 12), np.uint8)
    plain[3:5] = 255
    Image.fromarray(plain).save(tmp_path / "plain.png")
    assert not masks.meaning([masks.look(tmp_path / "plain.png")]).instances


@pytest.mark.parametrize("kind", ["int16", "float64"])
def test_a_volume_is_in_memory_once(kind, tmp_path, monkeypatch):
    """Reading a compressed volume and looking at all of it, as numpy counts the memory."""
    monkeypatch.setattr(reading, "SLAB", 2)
    monkeypatch.setattr(reading, "PART", 1 << 18)
    monkeypatch.setattr(slices, "SAMPLE", 10_000)
    array = np.random.default_rng(0).integers(-900, 900, (256, 256, 40)).astype(kind)
    file = nifti(tmp_path / "a.nii.gz", array)
    tracemalloc.start()
    scan = reading.read(file)
    survey(scan, 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(scan.plane(2, 3), array[::-1, ::-1, 3].T)
    assert peak < 1.4 * array.size * (2 if kind == "int16" else 4)


def test_a_compressed_file_that_ends_early(tmp_path):
    file = nifti(tmp_path / "a.nii.gz", np.zeros((20, 20, 5), np.int16))
    whole = gzip.decompress(file.read_bytes())
    file.write_bytes(gzip.compress(whole[:-100]))
    with pytest.raises(ScanError, match="ends after 3,900 of 4,000 bytes"):
        reading.read(file)


def test_one_volume_of_several(tmp_path):
    array = np.stack([np.full((11, 12, 10), v, np.int16) for v in (3, 8)], -1)
    path = nifti(tmp_path / "a.nii.gz", array)
    with pytest.raises(ScanError, match=r"4-D .*volume=0 to volume=1"):
        reading.read(path)
    assert reading.read(path, 1).plane(2, 0).max() == 8
    assert reading.read(nifti(tmp_path / "b.nii", array[..., :1])).planes(2) == 10
