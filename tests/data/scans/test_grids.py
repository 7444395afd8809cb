"""Masks laid on their scans; the oracle of resampling is SimpleITK."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from tests.helpers.scans import nifti
from yolo_nas_ext.data.scans import grids, reading
from yolo_nas_ext.data.scans.volumes import ScanError

AFFINE = np.diag([-0.8, -0.8, 2.0, 1.0])
AFFINE[:3, 3] = 16, 19, -5


def affine(scale=(1.0, 1.0, 1.0), shift=(0.0, 0.0, 0.0), degrees=0.0):
    """AFFINE with voxels of other sizes, shifted by mm and turned about the axis of the body."""
    a = np.deg2rad(degrees)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    found = AFFINE.copy()
    found[:3, :3] = turn @ AFFINE[:3, :3] @ np.diag(scale)
    found[:3, 3] += shift
    return found


def read(folder, name, array, where):
    return reading.read(nifti(folder / name, array, where))


def planes(scan):
    return np.stack([scan.plane(2, k) for k in range(scan.planes(2))])


def blobs(shape, seed=0):
    return (np.random.default_rng(seed).random(shape) > 0.5).astype(np.uint8) * 3


@pytest.mark.parametrize(
    "where",
    [
        affine((1.7, 1.3, 1.0), (-0.3, 0.2, 0.1)),
        affine((0.6, 0.7, 0.9), (-3.1, -2.2, 1.1)),
        affine(degrees=11, shift=(0.13, 0.21, 0.3)),
        affine((1.4, 1.0, 0.8), (-2.03, -4.01, 3.3), degrees=-33),
    ],
)
def test_another_grid_is_resampled_as_simpleitk_does(where, tmp_path):
    image = read(tmp_path, "i.nii", np.zeros((30, 26, 8), np.int16), AFFINE)
    mask = read(tmp_path, "m.nii", blobs((24, 23, 7)), where)
    laid, notes = grids.lay(image, mask, 2)
    files = [sitk.ReadImage(str(tmp_path / f"{n}.nii")) for n in "im"]
    oracle = sitk.Resample(files[1], files[0], sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    truth = sitk.GetArrayFromImage(sitk.DICOMOrient(oracle, "LPS"))
    assert grids.RESAMPLED in notes and truth.any()
    assert np.array_equal(planes(laid), truth)
    for axis, cut in ((1, truth.transpose(1, 0, 2)), (0, truth.transpose(2, 0, 1))):
        assert laid.planes(axis) == len(cut)
        assert all(np.array_equal(laid.plane(axis, k), cut[k][::-1]) for k in range(len(cut)))


def test_a_part_of_the_grid_is_no_resampling(tmp_path):
    whole = np.zeros((30, 26, 8), np.uint8)
    whole[4:15, 5:20, 2:7] = blobs((11, 15, 5))
    where = AFFINE.copy()
    where[:3, 3] = (AFFINE @ [4, 5, 2, 1])[:3]
    image = read(tmp_path, "i.nii", np.zeros(whole.shape, np.int16), AFFINE)
    laid, notes = grids.lay(image, read(tmp_path, "m.nii", whole[4:15, 5:20, 2:7], where), 2)
    assert notes == () and np.array_equal(planes(laid), whole.transpose(2, 1, 0))


def test_what_lies_outside_is_said_and_nothing_inside_refused(tmp_path):
    image = read(tmp_path, "i.nii", np.zeros((30, 26, 8), np.int16), AFFINE)
    for shift, said in ((-8.0, True), (-999.0, False)):
        mask = read(tmp_path, "m.nii", blobs((24, 23, 7)), affine(shift=(shift, 0, 0)))
        if said:
            assert grids.CUT in grids.lay(image, mask, 2)[1]
        else:
            with pytest.raises(ScanError, match="lies outside of it"):
                grids.lay(image, mask, 2)


@pytest.mark.parametrize("voxels", [0.05, 0.4, 0.9, 5.0])
def test_a_shift_is_taken_up_to_half_a_voxel(voxels, tmp_path):
    array = blobs((30, 26, 8))
    image = read(tmp_path, "i.nii", np.zeros(array.shape, np.int16), AFFINE)
    mask = read(tmp_path, "m.nii", array, affine(shift=(0.8 * voxels, 0, 0)))
    if voxels > grids.HALF:
        with pytest.raises(ScanError, match=f"{0.8 * voxels:.3g} mm elsewhere"):
            grids.lay(image, mask, 2)
        return
    laid, notes = grids.lay(image, mask, 2)
    assert laid is mask and notes == ((grids.NUDGED,) if voxels > grids.SAME else ())


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PSR"])
@pytest.mark.parametrize("lost", ["identity", "codes"])
def test_a_mask_without_a_place_is_in_the_order_of_its_scans_file(codes, lost, tmp_path):
    truth = blobs((12, 14, 9))
    image = nib.Nifti1Image(truth.astype(np.int16), AFFINE)
    now, then = nib.orientations.io_orientation(AFFINE), nib.orientations.axcodes2ornt(codes)
    image = image.as_reoriented(nib.orientations.ornt_transform(now, then))
    nib.save(image, tmp_path / "i.nii")
    mask = nib.Nifti1Image(np.asarray(image.dataobj, np.uint8), np.eye(4))
    if lost == "codes":
        mask.header.set_sform(None, 0)
        mask.header.set_qform(None, 0)
        mask.header.set_zooms(image.header.get_zooms())
    nib.save(mask, tmp_path / "m.nii")
    scan, mask = (reading.read(tmp_path / f"{n}.nii") for n in "im")
    laid, notes = grids.lay(scan, mask, 2)
    assert notes == (grids.PLACELESS,) and np.array_equal(planes(laid), planes(scan))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_a_mask_may_lie_where_a_header_puts_its_scan_second(order, tmp_path):
    """Readers take the sform or the qform, and masks that are drawn with them have that one."""
    truth = blobs((12, 14, 9))
    sform = np.eye(4)
    sform[:3, :3] = affine(degrees=25)[:3, :3][:, order]
    image = nib.Nifti1Image(truth.astype(np.int16), AFFINE)
    image.set_sform(sform, 2)
    image.set_qform(AFFINE, 1)
    nib.save(image, tmp_path / "i.nii")
    scan, mask = reading.read(tmp_path / "i.nii"), read(tmp_path, "m.nii", truth, AFFINE)
    laid, notes = grids.lay(scan, mask, 2)
    assert notes == (grids.OTHERWISE,) and np.array_equal(planes(laid), planes(scan))
    other = read(tmp_path, "n.nii", truth, affine(shift=(9.0, 0, 0)))
    with pytest.raises(ScanError, match=r"elsewhere|outside"):
        grids.lay(scan, other, 2)


def test_pictures_have_one_size(tmp_path):
    from PIL import Image

    for name, size in (("a", (20, 30)), ("b", (30, 20))):
        Image.fromarray(np.zeros(size, np.uint8)).save(tmp_path / f"{name}.png")
    first, second = (reading.read(tmp_path / f"{n}.png") for n in "ab")
    assert grids.lay(first, first, 2) == (first, ())
    with pytest.raises(ScanError, match="resize one of them"):
        grids.lay(first, second, 2)
