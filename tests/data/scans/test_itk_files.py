"""MetaImages as SimpleITK reads them, and from nowhere else."""

import numpy as np
import pytest
import SimpleITK as sitk

from yolo_nas_ext.data.scans.reading import read
from yolo_nas_ext.data.scans.volumes import ScanError

VOXELS = np.random.default_rng(0).integers(-900, 900, (7, 9, 8)).astype(np.int16)


def write(path, compressed=False):
    image = sitk.GetImageFromArray(VOXELS)
    a = np.deg2rad(9)
    image.SetDirection([np.cos(a), -np.sin(a), 0, np.sin(a), np.cos(a), 0, 0, 0, -1])
    image.SetSpacing([0.7, 0.9, 3.0])
    image.SetOrigin([5, -3, 11])
    sitk.WriteImage(image, str(path), compressed)
    return image


@pytest.mark.parametrize("suffix", [".mha", ".mhd"])
@pytest.mark.parametrize("compressed", [True, False])
def test_a_metaimage_as_simpleitk_reads_it(suffix, compressed, tmp_path):
    image = write(tmp_path / f"a{suffix}", compressed)
    scan, oracle = read(tmp_path / f"a{suffix}"), sitk.DICOMOrient(image, "LPS")
    truth = sitk.GetArrayFromImage(oracle)
    assert np.allclose(scan.spacing, oracle.GetSpacing())
    assert np.allclose(np.diag([-1, -1, 1]) @ scan.affine[:3, 3], oracle.GetOrigin())
    assert all(np.array_equal(scan.plane(2, k), truth[k]) for k in range(len(truth)))


@pytest.mark.parametrize(
    "target", ["{}/marker", "../marker", "link", "sub/a.raw", "LIST\n{}/marker"]
)
def test_voxels_elsewhere_are_not_read(target, tmp_path):
    folder = tmp_path / "scans"
    (folder / "sub").mkdir(parents=True)
    write(folder / "a.mhd")
    for marker in (tmp_path / "marker", folder / "sub" / "a.raw"):
        marker.write_bytes(VOXELS.tobytes())
    (folder / "link").symlink_to(tmp_path / "marker")
    text = (folder / "a.mhd").read_text().replace("a.raw", target.format(tmp_path))
    (folder / "a.mhd").write_text(text)
    with pytest.raises(ScanError, match="not beside it"):
        read(folder / "a.mhd")


def test_a_metaimage_that_ends_early(tmp_path):
    write(tmp_path / "a.mha")
    content = (tmp_path / "a.mha").read_bytes()
    (tmp_path / "a.mha").write_bytes(content[:-200])
    with pytest.raises(ScanError, match="cannot be read to its end") as error:
        read(tmp_path / "a.mha")
    assert "\n" not in str(error.value)
