"""Masks as people have them, read as label maps of whole numbers."""

import json

import nibabel as nib
import nrrd
import numpy as np
import pytest

from tests.helpers.scans import nifti, phantom
from yolo_nas_ext.commands import data
from yolo_nas_ext.data.scans import mask_volumes, reading
from yolo_nas_ext.data.scans.volumes import ScanError

BOXES = ((2, 3, 0, 8, 9, 3, 1), (12, 11, 1, 20, 20, 4, 2))
DIRECTIONS = np.diag([0.8, 0.8, 2.0])


def given(folder, array, name="m.nii"):
    image, _ = phantom((24, 22, 4))
    scan = reading.read(nifti(folder / "i.nii", image))
    return mask_volumes.read(nifti(folder / name, array), scan, 2)


def planes(scan):
    return np.stack([scan.plane(2, k) for k in range(scan.planes(2))])


def flat(array):
    """An array of a file with the identity as its affine as slices are looked at."""
    return array[::-1, ::-1].transpose(2, 1, 0)


@pytest.mark.parametrize("off", [-9e-4, -6e-8, 1e-7, 9e-4])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_labels_a_little_off_are_rounded_and_it_is_said(off, kind, tmp_path):
    _, truth = phantom((24, 22, 4), BOXES)
    found, notes = given(tmp_path, (truth + off).astype(kind))
    assert np.array_equal(planes(found), flat(truth)) and notes == (mask_volumes.ROUNDED,)


def test_labels_further_off_are_refused(tmp_path):
    _, truth = phantom((24, 22, 4), BOXES)
    with pytest.raises(ScanError, match=r"label 1.01 .* up to 0.001 off"):
        given(tmp_path, (truth * 1.01).astype(np.float32))


def test_labels_below_nothing_are_background(tmp_path):
    _, truth = phantom((24, 22, 4), BOXES)
    found, notes = given(tmp_path, np.where(truth, truth.astype(np.int16), np.int16(-1)))
    assert np.array_equal(planes(found), flat(truth)) and notes == (mask_volumes.NEGATIVE,)


@pytest.mark.parametrize("background", [True, False])
def test_a_volume_a_class(background, tmp_path):
    _, truth = phantom((24, 22, 4), BOXES)
    classes = range(0 if background else 1, 3)
    found, notes = given(tmp_path, np.stack([truth == c for c in classes], -1).astype(np.uint8))
    assert np.array_equal(planes(found), flat(truth))
    assert notes == ((mask_volumes.ONE_HOT if background else mask_volumes.SEVERAL),)
    with pytest.raises(ScanError, match="not of 0 and 1"):
        given(tmp_path, np.stack([truth, truth], -1), "n.nii")


def slicer(path, array, segments, origin=(0, 0, 0)):
    """Write a segmentation as 3D Slicer does; `segments` are (name, value, layer)."""
    header = {"space": "left-posterior-superior", "space origin": list(origin), "encoding": "raw"}
    layers = array.ndim == 4
    header["space directions"] = np.vstack([[np.nan] * 3, DIRECTIONS]) if layers else DIRECTIONS
    for index, (name, value, layer) in enumerate(segments):
        header[f"Segment{index}_Name"] = name
        header[f"Segment{index}_LabelValue"] = str(value)
        header[f"Segment{index}_Layer"] = str(layer)
    nrrd.write(str(path), array, header, custom_field_map={})


def converted(out):
    return json.loads((out / "conversion.json").read_text())["classes"]


def test_segments_are_known_by_their_names_not_their_numbers(tmp_path, capsys):
    """3D Slicer numbers the segments of each file anew; half of these are the other way round."""
    image, truth = phantom((24, 22, 4), BOXES)
    source = tmp_path / "in"
    source.mkdir()
    for index in range(4):
        header = {"space": "left-posterior-superior", "space directions": DIRECTIONS}
        header["space origin"] = [0, 0, 0]
        nrrd.write(str(source / f"p{index}.nrrd"), image + index, header)
        turned = np.array([0, 2, 1], np.uint8)[truth] if index % 2 else truth
        segments = [("tumour", 2 if index % 2 else 1, 0), ("edema", 1 if index % 2 else 2, 0)]
        # Cut to what is labelled, as Slicer saves it.
        slicer(source / f"p{index}.seg.nrrd", turned[2:20, 3:20], segments, (1.6, 2.4, 0))
    args = {"source": str(source), "out": str(tmp_path / "out")}
    assert data.main(args) == 0
    assert "1:edema (4 scans), 2:tumour (4 scans)" in capsys.readouterr().out
    assert converted(tmp_path / "out") == {"edema": 4 * 3, "tumour": 4 * 3}
    for file in (tmp_path / "out" / "labels").rglob("*.txt"):
        for line in file.read_text().splitlines():  # edema is 8 px wide, tumour 6
            row = line.split()
            assert round(float(row[3]) * 24) == (8, 6)[int(row[0])]
    assert data.main({**args, "out": str(tmp_path / "b"), "names": "1:tumour,2:edema"}) == 0
    assert list(converted(tmp_path / "b")) == ["tumour", "edema"]


def test_segments_that_overlap(tmp_path):
    image, _ = phantom((24, 22, 4))
    layers = np.zeros((2, 24, 22, 4), np.uint8)
    layers[0, 2:20, 2:20] = 1  # the liver
    layers[1, 5:9, 5:9] = 1  # a tumour within
    slicer(tmp_path / "m.seg.nrrd", layers, [("liver", 1, 0), ("tumour", 1, 1)])
    header = {"space": "left-posterior-superior", "space directions": DIRECTIONS}
    nrrd.write(str(tmp_path / "m.nrrd"), image, {**header, "space origin": [0, 0, 0]})
    scan = reading.read(tmp_path / "m.nrrd")
    labels = {"liver": 1, "tumour": 2}
    found, _ = mask_volumes.read(tmp_path / "m.seg.nrrd", scan, 2, labels=labels)
    truth = np.where(layers[1], 2, layers[0]).transpose(2, 1, 0)
    assert np.array_equal(planes(found), truth)


ROWS = {
    "bigendian": "",
    "flipped": "",
    "floatlabel": "up to 0.001 off whole numbers are rounded",
    "floatlabel2": "up to 0.001 off whole numbers are rounded",
    "fourd1": "",
    "mha": "",
    "mhd": "",
    "nan": "NaN or infinite",
    "negative": "below 0 are taken for background",
    "nocode": "",
    "nocode_one": "says no place",
    "noheader": "says no place",
    "notgz": "",
    "nrrd": "",
    "nudged": "up to 0.5 voxels off",
    "onehot": "one volume a class",
    "pair": "",
    "plainnii": "",
    "qform": "",
    "resampled": "resampled (nearest)",
    "scaledlabel": "",
    "slicer": "1:tumour (3 scans)",
    "upper": "",
}


@pytest.mark.realdata
@pytest.mark.parametrize("row", ROWS)
def test_volumes_of_the_inputs(row, shared_inputs, tmp_path, capsys):
    """Each holds three scans with a box of 9 x 12 pixels in four of eight slices."""
    out = tmp_path / "out"
    assert data.main({"source": str(shared_inputs / "volumes" / row), "out": str(out)}) == 0
    said = capsys.readouterr().out
    record = json.loads((out / "conversion.json").read_text())["counts"]
    assert (record["scans"], record["patients"], record["objects"]) == (3, 3, 12)
    assert ROWS[row] in said and (bool(ROWS[row]) or "note: masks" not in said.replace(
        "note: masks found", ""))  # fmt: skip
    for file in (out / "labels").rglob("*.txt"):
        row_of = [float(v) for v in file.read_text().split()]
        if not row_of:  # another slice of val
            continue
        size = round(row_of[3] * 40), round(row_of[4] * 48)
        assert size == (9, 12) or (row == "resampled" and abs(size[0] - 9) < 2)


@pytest.mark.realdata
def test_volumes_that_need_a_choice(shared_inputs, tmp_path, capsys):
    source = {"source": str(shared_inputs / "volumes" / "fourd"), "out": str(tmp_path / "out")}
    with pytest.raises(Exception, match="none of 3 scans"):
        data.main(source)
    assert "choose one with volume=0 to volume=1" in capsys.readouterr().out
    assert data.main({**source, "volume": 1}) == 0
    with pytest.raises(Exception, match="none of 3 scans"):
        data.main({"source": str(shared_inputs / "volumes" / "rgb")})
    assert "stores colours a voxel" in capsys.readouterr().out


def test_a_file_whose_name_lies_about_its_compression(tmp_path):
    array = np.arange(24 * 22 * 4).reshape(24, 22, 4).astype(np.int16)
    plain = nifti(tmp_path / "a.nii", array)
    packed = nifti(tmp_path / "b.nii.gz", array)
    plain.rename(tmp_path / "c.nii.gz")
    packed.rename(tmp_path / "d.nii")
    for name in ("c.nii.gz", "d.nii"):
        assert np.array_equal(planes(reading.read(tmp_path / name)), flat(array))


def test_freesurfer(tmp_path):
    array = np.arange(24 * 22 * 4).reshape(24, 22, 4).astype(np.int32)
    nib.save(nib.MGHImage(array, np.diag([1.0, 1, 2, 1])), tmp_path / "a.mgz")
    assert np.array_equal(planes(reading.read(tmp_path / "a.mgz")), flat(array))
