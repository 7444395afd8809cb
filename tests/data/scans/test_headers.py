"""What headers say before anything is read, against what reading finds."""

import nrrd
import numpy as np
import pytest
import SimpleITK as sitk

from tests.data.scans.test_volumes import oriented
from tests.helpers.scans import nifti, pairs, series
from yolo_nas_ext.commands import data
from yolo_nas_ext.data.scans import dicom, headers, reading
from yolo_nas_ext.data.scans.options import AXES

ARRAY = np.zeros((9, 12, 7), np.int16)


def same(header, scan, size=2):
    assert header.shape == scan.stored.shape
    assert np.allclose(header.spacing, scan.spacing, atol=1e-4)
    assert header.bytes == scan.stored.size * size


@pytest.mark.parametrize("codes", ["LPS", "RAS", "PSR", "SLA"])
def test_nifti(codes, tmp_path):
    path = oriented(ARRAY, (0.8, 1.1, 3.0), codes, tmp_path / "a.nii.gz")
    same(headers.peek(path), reading.read(path))


def test_nrrd(tmp_path):
    header = {"space": "right-anterior-superior", "space origin": [1.0, -2, 3]}
    header["space directions"] = [[0, 1.5, 0], [0.7, 0, 0], [0, 0, -2.0]]
    nrrd.write(str(tmp_path / "a.nrrd"), ARRAY, header)
    same(headers.peek(tmp_path / "a.nrrd"), reading.read(tmp_path / "a.nrrd"))


def test_metaimage(tmp_path):
    image = sitk.GetImageFromArray(ARRAY.transpose(2, 1, 0))
    image.SetSpacing([0.8, 1.1, 3.0])
    image.SetDirection([0, 0, 1, 1, 0, 0, 0, 1, 0])
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    same(headers.peek(tmp_path / "a.mha"), reading.read(tmp_path / "a.mha"), 4)


@pytest.mark.parametrize("cosines", [(1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1)])
def test_series(cosines, tmp_path):
    (one,), _ = dicom.find(series(tmp_path, ARRAY, cosines=cosines))
    same(headers.peek(one), dicom.read(one))


def test_what_says_nothing(tmp_path):
    (tmp_path / "a.nii").write_text("nothing")
    (tmp_path / "a.png").write_bytes(b"x" * 10)
    assert headers.peek(tmp_path / "a.nii") is None and headers.peek(tmp_path / "a.png") is None
    assert headers.memory([tmp_path / "a.png"]) == headers.UNKNOWN * 10


@pytest.mark.parametrize(
    ("spacings", "axis"),
    [
        ([(1, 1, 1)] * 2, "axial"),
        ([(1, 1, 5)] * 2, "axial"),
        ([(5, 1, 1)] * 2, "sagittal"),
        ([(1, 4, 1)] * 2, "coronal"),
        ([(1.05, 1, 1)] * 2, "axial"),
        ([(5, 1, 1)] * 2 + [(1, 1, 5)], "sagittal"),
        ([(5, 1, 1), (1, 1, 5)], "axial"),
    ],
)
def test_the_axis_with_the_finest_pixels(spacings, axis, tmp_path):
    files = [
        nifti(tmp_path / f"{i}.nii", ARRAY, np.diag([*map(float, s), 1.0]))
        for i, s in enumerate(spacings)
    ]
    found, said = headers.finest(files)
    assert AXES[found] == axis
    assert bool(said) == (len({max(s) for s in spacings}) > 1 or axis != "axial" or (
        len(set(spacings)) > 1))  # fmt: skip


def test_a_single_slice_is_cut_along_its_own_plane(tmp_path):
    file = nifti(tmp_path / "a.nii", np.zeros((1, 40, 36), np.int16), np.eye(4))
    assert headers.finest([file])[0] == 0


def test_slices_are_cut_where_pixels_are_finest(tmp_path, capsys):
    source = pairs(tmp_path / "in", n=2, shape=(12, 44, 40), boxes=((5, 8, 1, 9, 15, 4, 1),))
    for file in source.rglob("*.nii.gz"):
        image = np.asarray(reading.read(file).stored)
        nifti(file, image, np.diag([4.0, 1, 1, 1]))
    assert data.main({"source": str(source), "out": str(tmp_path / "out")}) == 0
    assert "slices are sagittal: there pixels are finest, in 2 of 2" in capsys.readouterr().out
    assert data.main({"source": str(source), "out": str(tmp_path / "b"), "axis": "axial"}) == 0
    sizes = [
        {f.read_bytes()[16:24] for f in (tmp_path / name / "images").rglob("*.png")}
        for name in ("out", "b")
    ]
    assert sizes[0] == {bytes([0, 0, 0, 44, 0, 0, 0, 40])} != sizes[1]
