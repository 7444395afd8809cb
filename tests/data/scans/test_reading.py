"""Headers of scans: voxels come from beside them and from nowhere else, and fit into memory."""

import bz2
import gzip
import tracemalloc

import nibabel as nib
import nrrd
import numpy as np
import pydicom
import pytest

from tests.helpers.scans import series
from yolo_nas_ext.data.scans import dicom, itk_files, reading, volumes
from yolo_nas_ext.data.scans import series as sorting
from yolo_nas_ext.data.scans.reading import read
from yolo_nas_ext.data.scans.volumes import ScanError, Volume

VOXELS = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


def detached(folder, name, target, key="data file"):
    """Write a header whose voxels are in another file."""
    lines = ("NRRD0004", "type: uint8", "dimension: 3", "sizes: 2 3 4", "encoding: raw")
    (folder / name).write_text("\n".join([*lines, f"{key}: {target}", "", ""]))
    return folder / name


def test_detached_voxels_beside_their_header_are_read(tmp_path):
    nrrd.write(str(tmp_path / "a.nhdr"), VOXELS, detached_header=True)
    nrrd.write(str(tmp_path / "a.nrrd"), VOXELS)
    both = [read(tmp_path / name) for name in ("a.nhdr", "a.nrrd")]
    assert all(isinstance(scan, Volume) for scan in both)
    assert all(np.array_equal(both[0].plane(2, i), both[1].plane(2, i)) for i in range(4))
    (tmp_path / "linked").mkdir()  # as data under version control are
    for file in tmp_path.glob("a.*"):
        (tmp_path / "linked" / file.name).symlink_to(file)
    assert np.array_equal(read(tmp_path / "linked" / "a.nhdr").plane(2, 0), both[0].plane(2, 0))


@pytest.mark.parametrize("suffix", [".nhdr", ".nrrd"])
@pytest.mark.parametrize("key", ["data file", "datafile", "DATA FILE"])
@pytest.mark.parametrize(
    "target", ["{}/marker", "../marker", "sub/../../marker", "./link", "link", "sub/marker"]
)
def test_any_other_file_is_not_read(tmp_path, suffix, key, target):
    folder = tmp_path / "scans"
    (folder / "sub").mkdir(parents=True)
    for marker in (tmp_path / "marker", folder / "sub" / "marker"):
        marker.write_bytes(VOXELS.tobytes())
    (folder / "link").symlink_to(tmp_path / "marker")
    path = detached(folder, f"a{suffix}", target.format(tmp_path), key)
    with pytest.raises(ScanError, match=r"not beside it|cannot be read") as error:
        read(path)
    assert "\n" not in str(error.value)


def claiming(path, shape, kind=np.int16):
    """Write a NIfTI whose header says more voxels than it has."""
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(kind)
    header["vox_offset"] = 352
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wb") as file:
        file.write(header.binaryblock + bytes(4 + 1000))
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_header_that_says_more_than_its_file_can_hold(tmp_path, suffix):
    path = claiming(tmp_path / f"a{suffix}", (2000, 2000, 1500))
    tracemalloc.start()
    with pytest.raises(ScanError, match=r"12,000,000,000 bytes of voxels, which are not in"):
        read(path)
    assert tracemalloc.get_traced_memory()[1] < 2e7
    tracemalloc.stop()


@pytest.fixture
def little(monkeypatch):
    """A machine with a megabyte of free memory."""
    for module in (reading, volumes, sorting, itk_files):
        monkeypatch.setattr(module, "free_memory", lambda: 1_000_000)


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".nhdr"])
def test_voxels_that_do_not_fit_into_memory_are_not_read(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    voxels = np.zeros((200, 200, 60), np.uint8)
    if suffix in (".nrrd", ".nhdr"):
        nrrd.write(str(path), voxels, {"encoding": "raw"}, detached_header=suffix == ".nhdr")
    else:
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
    with pytest.raises(ScanError, match=r"has voxels of 0\.0 GB by its header, and 0\.0 GB"):
        read(path)


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
def test_compressed_voxels_are_counted_before_they_are_read(tmp_path, compress):
    encoding = {"gzip": "gzip", "bz2": "bzip2"}[compress.__module__]
    lines = ("NRRD0004", "type: uint8", "dimension: 3", "sizes: 2 3 4", f"encoding: {encoding}")
    head = "\n".join([*lines, "", ""]).encode()
    (tmp_path / "bomb.nrrd").write_bytes(head + compress(bytes(50_000_000)))
    with pytest.raises(ScanError, match="has compressed voxels"):
        read(tmp_path / "bomb.nrrd")
    (tmp_path / "good.nrrd").write_bytes(head + compress(VOXELS.tobytes(order="F")))
    assert read(tmp_path / "good.nrrd").planes(2) == 4


@pytest.mark.usefixtures("little")
def test_a_dicom_file_that_is_compressed_as_a_whole_is_counted(tmp_path):
    def deflated(_, header):
        header.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian

    series(tmp_path / "good", np.zeros((2, 20, 20), np.int16), change=deflated)
    series(tmp_path / "bomb", np.zeros((1, 900, 900), np.int16), change=deflated)
    found, bad = dicom.find(sorted(tmp_path.rglob("*.dcm")))
    assert [len(one.files) for one in found] == [2]
    assert [reason for _, reason in bad] == ["is compressed as a whole, and too large for memory"]
