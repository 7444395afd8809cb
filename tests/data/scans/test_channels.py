"""Contrasts, nnU-Net's channels, volumes of a file and windows as the channels of a picture."""

import json
import re

import nibabel as nib
import numpy as np
import pytest
import yaml
from PIL import Image

from tests.helpers.scans import nifti, pairs
from yolo_nas_ext.commands import data
from yolo_nas_ext.data.scans import pairing
from yolo_nas_ext.errors import NASError

SHAPE = (24, 22, 3)


def bright(seed, shape=SHAPE):
    """Values from 0 to 255, so that a window of just these keeps them."""
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.int16)


def visits(folder, names=("t1", "flair", "t1ce"), pattern="P{0}/P{0}_{1}.nii.gz"):
    mask = np.zeros(SHAPE, np.uint8)
    mask[5:12, 5:12] = 1
    for who in (1, 2):
        for index, name in enumerate(names):
            nifti(folder / pattern.format(who, name), bright(10 * who + index))
    return folder, mask


def run(source, out, **keys):
    found = {"source": str(source), "out": str(out), "window": "127.5/255", "empty": 1.0}
    return data.main({**found, **keys})


def check(out, linkage, expected):
    """Compare each picture with the slices of the contrasts that it is of."""
    assert yaml.safe_load((out / "data.yaml").read_text())["channels"] == 3
    scans = dict(line.split(",")[::-1] for line in linkage.read_text().splitlines()[1:])
    files = sorted((out / "images").rglob("*.png"))
    assert len(files) == 2 * SHAPE[2]
    for file in files:
        key, _, index = file.stem.rpartition("_")
        who = re.search(r"[Pc](\d)", scans[key])[1]
        truth = [
            np.zeros(SHAPE[1::-1], np.uint8) if seed is None else
            bright(10 * int(who) + seed)[::-1, ::-1, int(index)].T
            for seed in expected
        ]  # fmt: skip
        assert np.array_equal(np.asarray(Image.open(file)), np.stack(truth, -1))


@pytest.mark.parametrize(
    ("contrasts", "expected"),
    [("flair,t1ce,t1", (1, 2, 0)), ("T1,FLAIR", (0, 1, None)), (["t1ce", "t1"], (2, 0, None))],
)
def test_contrasts_by_their_words(contrasts, expected, tmp_path):
    source, mask = visits(tmp_path / "in")
    for who in (1, 2):
        nifti(source / f"P{who}/P{who}_seg.nii.gz", mask)
    link = tmp_path / "link.csv"
    assert run(source, tmp_path / "out", contrasts=contrasts, linkage=str(link)) == 0
    check(tmp_path / "out", link, expected)
    counts = json.loads((tmp_path / "out/conversion.json").read_text())["counts"]
    assert (counts["scans"], counts["objects"]) == (2, 6)


def test_channels_of_nnunet(tmp_path):
    source, mask = visits(tmp_path / "in", ("0000", "0001"), "imagesTr/c{0}_{1}.nii.gz")
    for who in (1, 2):
        nifti(source / f"labelsTr/c{who}.nii.gz", mask)
    link = tmp_path / "link.csv"
    assert run(source, tmp_path / "out", contrasts="1,0", linkage=str(link)) == 0
    check(tmp_path / "out", link, (1, 0, None))


def test_volumes_of_a_file(tmp_path):
    source = tmp_path / "in"
    mask = np.zeros(SHAPE, np.uint8)
    mask[5:12, 5:12] = 1
    for who in (1, 2):
        nifti(source / f"imagesTr/c{who}.nii.gz",
              np.stack([bright(10 * who + i) for i in range(4)], -1))  # fmt: skip
        nifti(source / f"labelsTr/c{who}.nii.gz", mask)
    link = tmp_path / "link.csv"
    assert run(source, tmp_path / "out", contrasts="3,0,1", linkage=str(link)) == 0
    check(tmp_path / "out", link, (3, 0, 1))


def test_lists_of_a_datalist(tmp_path):
    source, mask = visits(tmp_path / "in")
    items = []
    for who in (1, 2):
        nifti(source / f"m{who}.nii.gz", mask)
        names = [f"P{who}/P{who}_{name}.nii.gz" for name in ("flair", "t1")]
        items.append({"image": names, "label": f"m{who}.nii.gz"})
    (source / "list.json").write_text(json.dumps({"training": items}))
    link = tmp_path / "link.csv"
    assert run(source / "list.json", tmp_path / "out", linkage=str(link)) == 0
    check(tmp_path / "out", link, (1, 0, None))
    items[0]["image"] = [*items[0]["image"], *items[0]["image"]]
    (source / "list.json").write_text(json.dumps({"training": items}))
    assert "more than 3 channels" in pairing.find(str(source / "list.json")).notes[0]


def test_a_visit_without_one_of_them_is_named(tmp_path):
    source, mask = visits(tmp_path / "in")
    for who in (1, 2):
        nifti(source / f"P{who}/P{who}_seg.nii.gz", mask)
    (source / "P2/P2_flair.nii.gz").unlink()
    found = pairing.find(str(source), contrasts=("t1", "flair"))
    assert len(found.entries) == 1 and "has no contrast flair" in found.bad[0][1]


def test_contrasts_on_other_grids_are_refused(tmp_path, capsys):
    source, mask = visits(tmp_path / "in")
    for who in (1, 2):
        nifti(source / f"P{who}/P{who}_seg.nii.gz", mask)
    image = nib.load(source / "P1/P1_flair.nii.gz")
    moved = np.diag([1.0, 1, 2, 1])
    nifti(source / "P1/P1_flair.nii.gz", np.asarray(image.dataobj)[:-3], moved)
    assert run(source, tmp_path / "out", contrasts="t1,flair") == 3
    assert "P1_t1.nii.gz has contrasts on several grids" in capsys.readouterr().out


def test_three_windows(tmp_path):
    source, out = pairs(tmp_path / "in", n=2), tmp_path / "out"
    windows = ((100, 200), (30, 60), (250, 500))
    text = ",".join(f"{level}/{width}" for level, width in windows)
    link = tmp_path / "link.csv"
    assert run(source, out, window=text, linkage=str(link)) == 0
    assert yaml.safe_load((out / "data.yaml").read_text())["channels"] == 3
    scans = dict(line.split(",")[::-1] for line in link.read_text().splitlines()[1:])
    for file in (out / "images").rglob("*.png"):
        key, _, index = file.stem.rpartition("_")
        values = np.asarray(nib.load(source / scans[key]).dataobj)[::-1, ::-1, int(index)].T
        for channel, (level, width) in enumerate(windows):
            truth = np.clip((values - (level - width / 2)) / width, 0, 1) * 255
            assert np.abs(np.asarray(Image.open(file))[..., channel] - truth).max() <= 0.51


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"contrasts": "t1"}, "give 2 or 3 different ones"),
        ({"contrasts": "a,b,c,d"}, "give 2 or 3 different ones"),
        ({"contrasts": "t1,t1"}, "give 2 or 3 different ones"),
        ({"contrasts": "t1,t2", "channels": 3}, "cannot be given with channels=3"),
        ({"window": "lung,bone", "channels": 3}, "window=lung,bone: cannot be given with"),
        ({"window": "lung,bone,brain,liver"}, "up to three windows are channels"),
        ({"window": "lung,none"}, "not a window"),
    ],
)
def test_channels_that_cannot_be(keys, message, tmp_path):
    pairs(tmp_path / "in", n=2)
    with pytest.raises(NASError, match=message):
        data.main({"source": str(tmp_path / "in"), "out": str(tmp_path / "out"), **keys})
    assert not (tmp_path / "out").exists()


def grey(folder, most):
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for index in range(2):
        picture = np.random.default_rng(index).integers(20, most, (24, 22), dtype=np.uint8)
        mask = np.zeros_like(picture)
        mask[4:9, 4:9] = 1
        for kind, array in (("images", picture), ("masks", mask)):
            Image.fromarray(array).save(folder / kind / f"{index}.png")
    return folder


@pytest.mark.parametrize(
    ("window", "kept"), [(None, True), ("auto", True), ("none", True), ("percentile", False)]
)
def test_pictures_of_8_bits_stay_as_they_are(window, kept, tmp_path):
    source, out = grey(tmp_path / "in", 90), tmp_path / "out"
    keys = {"window": window} if window else {}
    assert data.main({"source": str(source), "out": str(out), **keys}) == 0
    raw = [np.asarray(Image.open(f)) for f in sorted((source / "images").iterdir())]
    for file in (out / "images").rglob("*.png"):
        written = np.asarray(Image.open(file))
        assert any(np.array_equal(written, one) for one in raw) == kept


def test_values_that_8_bits_do_not_hold_are_no_picture_as_they_are(tmp_path, capsys):
    pairs(tmp_path / "in", n=2)
    with pytest.raises(NASError, match="none of 2 scans"):
        data.main({"source": str(tmp_path / "in"), "window": "none"})
    assert "which window=none cannot keep as 8 bits" in capsys.readouterr().out
