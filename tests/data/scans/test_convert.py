"""Scans to a data set: what is written, what is left out, and what never gets through."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import nibabel as nib
import numpy as np
import pytest
import yaml
from PIL import Image

from tests.helpers.scans import SECRETS, nifti, pairs, phantom, series
from yolo_nas_ext.commands import data
from yolo_nas_ext.data.polygons import fill
from yolo_nas_ext.data.scans import conversion, convert, pairing, write_scan
from yolo_nas_ext.data.scans.options import Cut
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host.dataset import read


def run(source, out, **keys):
    """Run the command and return its exit code."""
    return data.main({"source": source and str(source), "out": str(out), **keys})


def record(out):
    return json.loads((out / "conversion.json").read_text())


def polygons(file, shape):
    size = np.array(shape[::-1])
    rows = [line.split() for line in file.read_text().splitlines()]
    return [(int(row[0]), np.array(row[1:], float).reshape(-1, 2) * size) for row in rows]


def test_polygons_rebuild_the_masks(tmp_path):
    boxes = ((5, 8, 1, 12, 15, 4, 1), (20, 20, 0, 30, 38, 5, 4))
    pairs(tmp_path / "in", boxes=boxes)
    assert run(tmp_path / "in", tmp_path / "out", task="segment", names="1:tumour,4:cyst") == 0
    data = read(tmp_path / "out", "segment")
    assert data.names == {0: "tumour", 1: "cyst"} and data.channels == 1
    _, mask = phantom(boxes=boxes)
    files = sorted((tmp_path / "out" / "labels").rglob("*.txt"))
    assert len(files) >= 4 * 5
    for file in files:
        k = int(file.stem[-4:])
        truth = mask[::-1, ::-1, k].T
        drawn = np.zeros_like(truth)
        for label, polygon in polygons(file, truth.shape):
            drawn[fill(polygon, truth.shape)] = (1, 4)[label]
        assert np.array_equal(drawn, truth)


def test_pictures_hold_the_window_and_nothing_else(tmp_path):
    pairs(tmp_path / "in")
    assert run(tmp_path / "in", tmp_path / "out", window="250/500") == 0
    files = sorted((tmp_path / "out" / "images").rglob("*.png"))
    for file in files:
        with Image.open(file) as image:
            assert image.mode == "L" and image.size == (40, 44) and not image.info
            assert np.asarray(image).max() == 255 or not file.stem.endswith(("1", "2", "3"))


def test_a_patient_is_on_one_side_and_reruns_agree(tmp_path):
    for index in range(12):
        image, mask = phantom(noise=index)
        for visit in "ab":
            nifti(tmp_path / "in/imagesTr" / f"p{index}_{visit}_0000.nii.gz", image)
            nifti(tmp_path / "in/labelsTr" / f"p{index}_{visit}.nii.gz", mask)
    keys = {"group": r"(p\d+)_", "salt": "s"}
    assert run(tmp_path / "in", tmp_path / "a", **keys) == 0
    assert run(tmp_path / "in", tmp_path / "b", **keys) == 0
    split = record(tmp_path / "a")["split"]
    assert split == record(tmp_path / "b")["split"] and len(split) == 12
    assert sorted(split.values()).count("val") == round(0.2 * 12)
    for side in ("train", "val"):
        found = {f.stem.split("_")[0] for f in (tmp_path / "a/images" / side).iterdir()}
        assert found == {p for p, s in split.items() if s == side}


def damaged(folder):
    """A folder with every kind of bad scan among two good ones; returns what is said of each."""
    pairs(folder, n=2)
    image, mask = phantom()

    def add(name, image, mask, affine=None, mask_affine=None):
        nifti(folder / "images" / f"{name}.nii.gz", image, affine)
        nifti(folder / "labels" / f"{name}.nii.gz", mask, mask_affine)

    add("cut", image, mask)
    file = folder / "images" / "cut.nii.gz"
    file.write_bytes(file.read_bytes()[:2000])
    away = np.eye(4)
    away[0, 3] = 99
    add("shape", image, mask[:-1], mask_affine=away)
    shifted = np.eye(4)
    shifted[0, 3] = 4.0
    add("affine", image, mask, mask_affine=shifted)
    broken = np.full(image.shape, np.nan, np.float32)
    add("nan", broken, mask)
    add("four", np.stack([image] * 2, -1), mask)
    add("empty", image, mask * 0)
    add("float", image, mask * np.float32(0.5))
    nifti(folder / "images" / "alone.nii.gz", image)
    (folder / "images" / "text.nii").write_text("no volume")
    nifti(folder / "labels" / "text.nii.gz", mask)
    return {
        "cut": "cannot be read to its end",
        "shape": "lies outside of it",
        "affine": "4 mm elsewhere",
        "nan": "nothing but 10,560 voxels that are NaN or infinite",
        "four": "4-D .*volume=0",
        "empty": "empty mask",
        "float": "label 0.5",
        "alone": "no mask",
        "text": "cannot be read",
    }


def test_bad_scans_are_named_and_the_rest_converted(tmp_path, capsys):
    expected = damaged(tmp_path / "in")
    assert run(tmp_path / "in", tmp_path / "out", task="segment") == 3
    said = [x for x in capsys.readouterr().out.splitlines() if x.startswith("skipped: ")]
    assert len(said) == len(expected)
    for name, reason in expected.items():
        (line,) = [x for x in said if f"images/{name}.nii" in x.replace(os.sep, "/")]
        assert re.search(reason, line)
    counts = record(tmp_path / "out")["counts"]
    assert (counts["scans"], counts["skipped"]) == (2, len(expected))
    assert not any(
        name in (tmp_path / "out/conversion.json").read_text() for name in ("alone", "cut.")
    )
    assert [f.name for f in tmp_path.glob(".out*")] == [".out.salt"]


def test_nothing_to_convert(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NASError, match="no scans"):
        run(tmp_path / "empty", tmp_path / "out")
    (tmp_path / "empty" / "notes.txt").write_text("nothing")
    with pytest.raises(NASError, match="no scans in 1 files"):
        run(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(NASError, match="no such file or folder"):
        run(tmp_path / "absent", tmp_path / "out")
    nifti(tmp_path / "bad" / "a.nii.gz", phantom()[0]).write_bytes(b"x")
    with pytest.raises(NASError, match="none of 1 scans"):
        run(tmp_path / "bad", tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad", "empty"]


def test_names_of_any_script_and_length(tmp_path):
    image, mask = phantom()
    for index, name in enumerate(("größe μ 患者", "x" * 200, "a b'c\"d")):
        image[0, 0, 0] = index
        nifti(tmp_path / "in/images" / f"{name}.nii.gz", image)
        nifti(tmp_path / "in/labels" / f"{name}.nii.gz", mask)
    assert run(tmp_path / "in", tmp_path / "out") == 0
    assert record(tmp_path / "out")["counts"]["patients"] == 3
    assert all(f.name.isascii() and len(f.name) < 40 for f in (tmp_path / "out").rglob("*"))


def test_no_value_of_a_header_is_in_anything_written(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for index in range(3):
        array = rng.integers(0, 2000, (4, 24, 20)).astype(np.int16)
        series(tmp_path / "in" / f"Quillfeather{index}", array, PatientID=f"MRN-774190{index}")
    assert run(tmp_path / "in", tmp_path / "out", window="lung") == 0
    secrets = [value.replace("MRN-7741902", "MRN-774190") for value in SECRETS.values()]
    secrets += ["Quillfeather", "Ottoline", "ACME", "1.2.826", "IM0000"]
    files = [f for f in (tmp_path / "out").rglob("*")]
    assert len([f for f in files if f.suffix == ".png"]) == 12
    for file in files:
        text = file.name.encode() + (file.read_bytes() if file.is_file() else b"")
        assert not [s for s in secrets if s.encode() in text], file
    assert not [s for s in secrets if s in capsys.readouterr().out]
    found = record(tmp_path / "out")["deidentification"]
    assert set(SECRETS) <= set(found["removed"]) and found["private elements removed"] == 3 * 4 * 2
    assert record(tmp_path / "out")["counts"]["patients"] == 3


def test_the_basic_profile_lets_nothing_through():
    """Attributes that PS3.15 table E.1-1 has removed, emptied or replaced."""
    from yolo_nas_ext.data.scans.anonymise import KEPT

    profile = (
        "AccessionNumber AcquisitionDate AcquisitionTime ContentDate ContentTime "
        "DeviceSerialNumber FrameOfReferenceUID InstitutionAddress InstitutionName "
        "InstitutionalDepartmentName OperatorsName OtherPatientIDs PatientAddress PatientAge "
        "PatientBirthDate PatientComments PatientID PatientName PatientSex PatientSize "
        "PatientWeight PerformingPhysicianName ProtocolName ReferringPhysicianName SeriesDate "
        "SeriesDescription SeriesInstanceUID SeriesTime SOPInstanceUID StationName StudyDate "
        "StudyDescription StudyID StudyInstanceUID StudyTime ImageComments StudyComments "
        "RequestedProcedureDescription"
    ).split()
    assert not KEPT & set(profile)


def test_pseudonyms_need_the_salt_and_the_linkage_is_outside(tmp_path):
    pairs(tmp_path / "in", n=2)
    for name, salt in (("a", "one"), ("b", "one"), ("c", "two"), ("d", None)):
        link = tmp_path / f"{name}.csv"
        run(tmp_path / "in", tmp_path / name, salt=salt, linkage=str(link))
        assert link.stat().st_mode & 0o777 == 0o600 or os.name == "nt"
    names = [sorted(record(tmp_path / n)["split"]) for n in "abcd"]
    assert names[0] == names[1] and len({tuple(n) for n in names}) == 3
    rows = (tmp_path / "a.csv").read_text().splitlines()
    assert len(rows) == 3 and "case0" in rows[1]
    assert oct((tmp_path / "a.csv").stat().st_mode)[-3:] == "600" or os.name == "nt"
    with pytest.raises(NASError, match="inside out"):
        run(tmp_path / "in", tmp_path / "e", linkage=str(tmp_path / "e" / "link.csv"))
    with pytest.raises(NASError, match="no list of scans is overwritten"):
        run(tmp_path / "in", tmp_path / "e", linkage=str(tmp_path / "a.csv"))
    assert (tmp_path / "a.csv").read_text().splitlines() == rows
    assert not (tmp_path / "e").exists()


def test_a_killed_conversion_goes_on(tmp_path):
    folder = pairs(tmp_path / "in", n=8, shape=(160, 160, 24))
    arguments = [f"source={folder}", f"out={tmp_path / 'out'}", "empty=1", "task=segment"]
    process = subprocess.Popen(
        [sys.executable, "-m", "yolo_nas_ext", "data", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    scans = tmp_path / ".out.partial" / "scans"
    for _ in range(1200):
        if len(list(scans.glob("*/record.json"))) >= 2:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = {f: f.stat().st_mtime_ns for f in scans.glob("*/record.json")}
    assert 2 <= len(before) < 8 and not (tmp_path / "out").exists()
    pictures = {f.name: f.stat().st_mtime_ns for p in before for f in p.parent.glob("*.png")}
    assert run(folder, tmp_path / "out", empty=1.0, task="segment") == 0
    written = {f.name: f.stat().st_mtime_ns for f in (tmp_path / "out/images").rglob("*.png")}
    assert len(written) == 8 * 24 and pictures.items() <= written.items()
    assert not (tmp_path / ".out.partial").exists()


def test_settings_that_changed_begin_anew(tmp_path, monkeypatch, capsys):
    pairs(tmp_path / "in", n=3)

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(write_scan, "cut", stop)
        assert run(tmp_path / "in", tmp_path / "out") == 3
    assert "same command goes on" in capsys.readouterr().out
    assert run(tmp_path / "in", tmp_path / "out", channels=3) == 0
    assert "beginning anew" in capsys.readouterr().out
    assert yaml.safe_load((tmp_path / "out/data.yaml").read_text())["channels"] == 3


def test_publishing_again_after_a_kill_comes_to_the_same(tmp_path, monkeypatch):
    pairs(tmp_path / "in", n=3)
    move = os.replace
    moved = []

    def fail(source, target):
        if str(source).endswith(".png"):
            moved.append(source)
            if len(moved) == 5:
                raise KeyboardInterrupt
        move(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(convert.os, "replace", fail)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "in", tmp_path / "out", salt="s")
    assert run(tmp_path / "in", tmp_path / "out", salt="s") == 0
    assert run(tmp_path / "in", tmp_path / "whole", salt="s") == 0
    both = [
        {
            f.relative_to(tmp_path / n): f.read_bytes()
            for f in (tmp_path / n).rglob("*")
            if f.is_file()
        }
        for n in ("out", "whole")
    ]
    assert both[0] == both[1]


def test_empty_slices_are_kept_in_proportion(tmp_path):
    pairs(tmp_path / "in", n=2, shape=(40, 44, 103))
    written = {}
    for part in (0.0, 0.3, 1.0):
        run(tmp_path / "in", tmp_path / f"out{part}", empty=part)
        # Val has every slice, and train those with an object and a part of the others.
        for side in ("images", "labels"):
            assert len(list((tmp_path / f"out{part}" / side / "val").iterdir())) == 103
        written[part] = len(list((tmp_path / f"out{part}/images/train").iterdir())) - 3
        assert record(tmp_path / f"out{part}")["counts"]["pictures"] == written[part] + 3 + 103
    assert written[0.0] == 0 and written[1.0] == 100 and 20 <= written[0.3] <= 40
    run(tmp_path / "in", tmp_path / "again", empty=0.3, salt="x")
    assert len(list((tmp_path / "again/images/train").iterdir())) == written[0.3] + 3


def test_small_objects_are_left_out_by_their_area_in_mm(tmp_path):
    image, mask = phantom(boxes=((5, 5, 0, 7, 7, 6, 1), (20, 20, 0, 30, 30, 6, 1)))
    affine = np.diag([0.5, 0.5, 2, 1])
    for index in range(2):
        nifti(tmp_path / "in/images" / f"{index}.nii", image + index, affine)
        nifti(tmp_path / "in/labels" / f"{index}.nii", mask, affine)
    assert run(tmp_path / "in", tmp_path / "out", min_mm2=1.01) == 0
    counts = record(tmp_path / "out")["counts"]
    assert (counts["objects"], counts["too small"]) == (12, 12)  # 4 pixels are 1 mm^2


def test_classes_of_slices(tmp_path):
    boxes = ((5, 5, 0, 9, 9, 3, 1), (20, 20, 2, 30, 30, 4, 2))
    pairs(tmp_path / "in", n=5, boxes=boxes)
    assert run(tmp_path / "in", tmp_path / "out", task="classify", names="small,large") == 0
    counts = {f.name: len(list(f.iterdir())) for f in (tmp_path / "out/train").iterdir()}
    assert counts == {"small": 8, "large": 8, "background": 8}
    assert {f.name for f in (tmp_path / "out/val").iterdir()} == set(counts)


def test_classes_of_folders(tmp_path):
    for index in range(8):
        kind = ("ill", "well")[index % 2]
        nifti(tmp_path / "in" / kind / f"s{index}.nii.gz", phantom(noise=index)[0])
    assert run(tmp_path / "in", tmp_path / "out", task="classify", class_from="folder") == 0
    assert {f.name for f in (tmp_path / "out/train").iterdir()} == {"ill", "well"}
    assert {f.name for f in (tmp_path / "out/val").iterdir()} == {"ill", "well"}


def test_a_file_an_instance(tmp_path):
    """As the data science bowl has it: a folder an image, with a file a nucleus."""
    rng = np.random.default_rng(0)
    for index in range(3):
        folder = tmp_path / "in" / f"id{index}"
        (folder / "images").mkdir(parents=True)
        (folder / "masks").mkdir()
        picture = rng.integers(0, 255, (32, 36, 4), dtype=np.uint8)
        picture[..., 3] = 255
        Image.fromarray(picture).save(folder / "images" / f"id{index}.png")
        for k, (y, x) in enumerate(((3, 4), (3, 12), (20, 20))):
            mask = np.zeros((32, 36), np.uint8)
            mask[y : y + 8, x : x + 8] = 255  # the first two touch
            Image.fromarray(mask).save(folder / "masks" / f"{k}f{index}.png")
    assert run(tmp_path / "in", tmp_path / "out", task="segment", names="nucleus") == 0
    data = read(tmp_path / "out", "segment")
    assert data.names == {0: "nucleus"} and data.channels == 3
    assert record(tmp_path / "out")["counts"]["objects"] == 9


def test_instance_maps_of_16_bits(tmp_path):
    for index in range(3):
        values = np.zeros((40, 40), np.uint16)
        values[2:9, 2:9], values[9:15, 2:9], values[30:36, 30:39] = 7, 1200, 40_000
        for kind, array in (("images", values // 200), ("masks", values)):
            (tmp_path / "in" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype(np.uint16)).save(tmp_path / "in" / kind / f"{index}.png")
    assert run(tmp_path / "in", tmp_path / "out") == 0
    assert record(tmp_path / "out")["counts"]["objects"] == 9
    assert record(tmp_path / "out")["classes"] == {"object": 9}


def test_a_datalist_with_folds(tmp_path):
    pairs(tmp_path / "in", n=6)
    items = [
        {
            "image": f"images/case{i}.nii.gz",
            "label": f"labels/case{i}.nii.gz",
            "fold": i % 3,
            "group": f"g{i % 3}",
        }
        for i in range(6)
    ]
    file = tmp_path / "in" / "list.json"
    file.write_text(json.dumps({"training": items, "labels": {"0": "none", "1": "lesion"}}))
    assert run(file, tmp_path / "out", fold=1) == 0
    split = record(tmp_path / "out")["split"]
    assert sorted(split.values()) == ["train", "train", "val"]
    assert read(tmp_path / "out").names == {0: "lesion"}
    items[0]["group"] = "g1"  # fold 0
    file.write_text(json.dumps({"training": items}))
    with pytest.raises(NASError, match="1 patients are in train and in val"):
        run(file, tmp_path / "out2", fold=1)
    with pytest.raises(NASError, match=r"has the folds \[0, 1, 2\]"):
        run(file, tmp_path / "out2", fold=7)
    file.write_text('{"training": [{"label": "a.nii"}]}')
    with pytest.raises(NASError, match="not a datalist"):
        run(file, tmp_path / "out2")


def test_masks_of_another_folder_by_stem(tmp_path):
    image, mask = phantom()
    for name in ("s1", "s10"):
        nifti(tmp_path / "scans" / f"{name}.nii.gz", image)
        nifti(tmp_path / "drawn" / f"{name}_seg.nii", mask)
    found = pairing.find(str(tmp_path / "scans/*.nii.gz"), str(tmp_path / "drawn/*_seg.nii"))
    assert [[m.name for m in e.masks] for e in found.entries] == [["s1_seg.nii"], ["s10_seg.nii"]]
    nifti(tmp_path / "drawn" / "other_seg.nii", mask)
    found = pairing.find(str(tmp_path / "scans"), str(tmp_path / "drawn"))
    assert found.orphans == ["other_seg.nii"]


def test_masks_beside_their_scans_by_a_mark(tmp_path):
    image, mask = phantom()
    nifti(tmp_path / "a.nii.gz", image)
    nifti(tmp_path / "a_mask.nii.gz", mask)
    found = pairing.find(str(tmp_path))
    assert len(found.entries) == 1 and found.entries[0].masks[0].name == "a_mask.nii.gz"


def test_masks_of_dicom_series(tmp_path):
    _, mask = phantom()
    affine = np.diag([-0.9, -0.7, 2.0, 1.0])
    affine[:3, 3] = 20, 30, 5
    for name in ("first", "second"):
        series(tmp_path / "in" / name, np.zeros((6, 44, 40), np.int16), PatientID=name)
        nifti(tmp_path / "masks" / f"{name}.nii.gz", mask, affine)
    keys = {"masks": str(tmp_path / "masks"), "window": "abdomen"}
    assert run(tmp_path / "in", tmp_path / "out", **keys) == 0
    assert record(tmp_path / "out")["counts"]["objects"] == 6


def test_unlabelled_scans_become_pictures(tmp_path, capsys):
    for index in range(2):
        nifti(tmp_path / "in" / f"s{index}.nii.gz", phantom(noise=index)[0])
    assert run(tmp_path / "in", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "no masks were found" in said and "next:" not in said  # as no search could use them
    assert record(tmp_path / "out")["counts"]["pictures"] == 12


def test_what_to_do_next_is_said_where_it_would_work(tmp_path, capsys):
    for n, works in ((1, False), (2, True)):
        pairs(tmp_path / f"in{n}", n=n)
        assert run(tmp_path / f"in{n}", tmp_path / f"out{n}", window="abdomen") == 0
        said = capsys.readouterr().out
        assert ("next:\n  yolo nas-search" in said) == works == ("augment=ct" in said)


def test_healthy_scans_can_be_kept(tmp_path):
    pairs(tmp_path / "in", n=2)
    nifti(tmp_path / "in/labels/case1.nii.gz", np.zeros((40, 44, 6), np.uint8))
    assert run(tmp_path / "in", tmp_path / "out", empty_masks=True, empty=1.0) == 0
    assert record(tmp_path / "out")["counts"]["without objects"] == 3 + 6


def test_progress_is_of_reading_too(tmp_path, monkeypatch):
    """A scan of many slices is not at 0 % until the first picture is written."""
    pairs(tmp_path / "in", n=1)
    seen = []

    class Bar:
        def update(self, part):
            seen.append(part)

    (entry,) = pairing.find(str(tmp_path / "in")).entries
    write_scan.write_scan(
        entry, "p0_0", "", None, convert.Options(), labelled=True, rng=random.Random(0), bar=Bar()
    )
    assert seen[0] == write_scan.READ and 0.99 < sum(seen) < 1


def test_only_looking_writes_nothing(tmp_path, capsys):
    pairs(tmp_path / "in", n=2)
    before = sorted(tmp_path.rglob("*"))
    assert data.main({"source": str(tmp_path / "in")}) == 0
    assert sorted(tmp_path.rglob("*")) == before
    said = capsys.readouterr().out
    assert "nothing was written" in said and "label_1 6" in said


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"task": "pose"}, "task=pose: not allowed; task takes one of detect, segment, classify"),
        ({"window": "lungs"}, "Did you mean 'lung'"),
        ({"window": "40/0"}, "not a window"),
        ({"spacing": "wide"}, "spacing=wide: not allowed; spacing takes native, iso or"),
        ({"axis": "up"}, "axis=up"),
        ({"channels": 2}, "channels=2"),
        ({"val": 1.5}, "val=1.5"),
        ({"names": "1:a,b"}, "names such as"),
        ({"names": "../a"}, "folders cannot have"),
        ({"group": "("}, "not a regular expression"),
        ({"conectivity": 8}, "Did you mean 'connec"),
        ({"names": "2:b"}, r"no name for the labels \[1\]"),
        ({"source": None}, "is required"),
        ({"empty": 2}, "empty=2"),
        ({"connectivity": 6}, "one of 4, 8"),
    ],
)
def test_keys_that_cannot_be(keys, message, tmp_path):
    pairs(tmp_path / "in", n=2)
    with pytest.raises(NASError, match=message):
        run(**{"source": tmp_path / "in", "out": tmp_path / "out", **keys})
    assert not (tmp_path / "out").exists()


def test_a_name_that_is_missing_is_found_before_the_conversion(tmp_path, capsys):
    pairs(tmp_path / "in", n=2, boxes=((2, 2, 1, 9, 9, 3, 1), (20, 20, 2, 30, 30, 4, 3)))
    keys = {"task": "segment", "salt": "s"}
    with pytest.raises(NASError, match=r"no name for the labels \[3\].*or leave one out as in 3:-"):
        run(tmp_path / "in", tmp_path / "out", names="1:tumour", **keys)
    assert [f.name for f in tmp_path.iterdir()] == ["in"]


def test_names_that_are_corrected_keep_what_is_converted(tmp_path, monkeypatch):
    pairs(tmp_path / "in", n=3)
    written = write_scan.write_scan

    def stop(entry, *args):
        if entry.name.endswith("case2.nii.gz"):
            raise KeyboardInterrupt
        return written(entry, *args)

    with monkeypatch.context() as patch:
        patch.setattr(conversion, "write_scan", stop)
        assert run(tmp_path / "in", tmp_path / "out", names="1:tumor") == 3
    before = {
        f.name: f.stat().st_mtime_ns for f in (tmp_path / ".out.partial/scans").rglob("*.png")
    }
    assert run(tmp_path / "in", tmp_path / "out", names="1:tumour") == 0
    after = {f.name: f.stat().st_mtime_ns for f in (tmp_path / "out/images").rglob("*.png")}
    kept = before.keys() & after.keys()  # slices that train does not keep go at the end
    assert len(before) == 2 * 6 and len(kept) >= 2 * 3
    assert all(before[name] == after[name] for name in kept)
    assert read(tmp_path / "out").names == {0: "tumour"}


def test_out_must_be_new(tmp_path):
    pairs(tmp_path / "in", n=2)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(NASError, match="not an empty folder"):
        run(tmp_path / "in", tmp_path / "out")


def test_a_patient_that_cannot_be_found_is_reported(tmp_path, capsys):
    pairs(tmp_path / "in", n=3)
    assert run(tmp_path / "in", tmp_path / "out", group="case([01])") == 3
    assert "group= finds no patient" in capsys.readouterr().out


def test_options_are_whole():
    assert convert.Options().cut == Cut()


@pytest.mark.realdata
@pytest.mark.parametrize("every", [8, pytest.param(1, marks=pytest.mark.slow)])
def test_the_hippocampus(shared_data, tmp_path, capsys, every):
    """Masks rebuilt from polygons against the volumes': the number that counts."""
    source, out = tmp_path / "some", tmp_path / "out"
    whole = shared_data / "msd_hippocampus"
    names = sorted(file.name for file in (whole / "images").iterdir())
    for part in ("images", "labels"):
        (source / part).mkdir(parents=True)
        for name in {*names[::every], "hippocampus_118.nii.gz"}:
            if (whole / part / name).exists():
                shutil.copyfile(whole / part / name, source / part / name)
    assert run(source, out, task="segment", linkage=str(tmp_path / "link.csv")) == 3
    assert "hippocampus_118.nii.gz has no mask" in capsys.readouterr().out
    dice = []
    for row in (tmp_path / "link.csv").read_text().splitlines()[1:]:
        name, key = row.split(",")
        file = source / name.replace("images", "labels", 1)
        if not file.exists():
            continue
        mask = np.asarray(nib.load(file).dataobj)
        for labels in (out / "labels").glob(f"*/{key}_*.txt"):
            truth = mask[::-1, ::-1, int(labels.stem[-4:])].T
            drawn = np.zeros_like(truth)
            for label, polygon in polygons(labels, truth.shape):
                drawn[fill(polygon, truth.shape)] = label + 1
            for value in (1, 2):
                a, b = drawn == value, truth == value
                if b.any():
                    dice.append(2 * (a & b).sum() / (a.sum() + b.sum()))
    assert len(dice) > 3000 // every and np.mean(dice) >= 0.95
    shutil.rmtree(out)


NOWHERE = ("../../../PWN", "{absolute}/PWN", "a\nb")
NO_FOLDER = ("con:x", ".")  # of which classes alone make folders


@pytest.mark.parametrize(
    ("name", "task"),
    [
        *((n, t) for n in NOWHERE for t in ("classify", "detect")),
        *((n, "classify") for n in NO_FOLDER),
    ],
)
def test_classes_of_a_dataset_json_become_no_folders_elsewhere(tmp_path, name, task):
    source = pairs(tmp_path / "in" / "set", n=2)
    label = name.replace("{absolute}", str(tmp_path))
    (source / "dataset.json").write_text(json.dumps({"labels": {"1": label}}))
    with pytest.raises(NASError, match=r"the class of label 1 is called .* names=1:<name>"):
        run(source, tmp_path / "out", task=task)
    assert not (tmp_path / "out").exists() and not list(tmp_path.rglob("PWN"))


def test_what_lies_beside_the_output_is_not_taken_at_its_word(tmp_path, monkeypatch):
    """A record of an interrupted conversion names its pictures, and they are moved."""
    source = pairs(tmp_path / "in", n=2)
    monkeypatch.setattr(convert, "publish", lambda *_: None)
    run(source, tmp_path / "out", salt="s")
    monkeypatch.undo()
    for file in (tmp_path / ".out.partial" / "scans").rglob("record.json"):
        content = json.loads(file.read_text())
        content["pictures"][0]["name"] = "../../../PWN"
        file.write_text(json.dumps(content))
        (file.parent / "../../../PWN.png").write_bytes(b"")
        (file.parent / "../../../PWN.txt").write_bytes(b"")
    assert run(source, tmp_path / "out", salt="s") == 0
    assert (tmp_path / "PWN.png").exists() and (tmp_path / "out" / "data.yaml").exists()


def test_links_beside_the_output_are_refused(tmp_path):
    source = pairs(tmp_path / "in", n=2)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".out.partial").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NASError, match=r"\.out\.partial beside it is a link"):
        run(source, tmp_path / "out")
    (tmp_path / ".out.partial").unlink()
    (tmp_path / ".out.partial").mkdir()
    (tmp_path / ".out.partial" / "whole").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NASError, match="whole in it is a link"):
        run(source, tmp_path / "out")
    assert not list((tmp_path / "elsewhere").iterdir())
