"""COCO import: against the annotations themselves, a public conversion, and every bad input."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools.coco import COCO

from yolo_nas_ext.commands.data import main as coco_main
from yolo_nas_ext.data.coco import convert
from yolo_nas_ext.data.coco.convert import import_coco
from yolo_nas_ext.errors import NASError


def toy(folder: Path, n: int = 10) -> dict:
    """Write n images of 40x30 and return their JSON: category 7 in all, 3 in two, 5 in none."""
    (folder / "images").mkdir(exist_ok=True)
    for i in range(n):
        Image.new("RGB", (40, 30), (i, 0, 0)).save(folder / "images" / f"{i}.png")
    boxes = [(i, 7, [4, 3, 20, 15]) for i in range(n)] + [
        (0, 3, [0, 0, 8, 6]),
        (1, 3, [0, 0, 8, 6]),
    ]
    return {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 40, "height": 30} for i in range(n)],
        "annotations": [
            {"id": k, "image_id": i, "category_id": c, "bbox": b, "iscrowd": 0}
            for k, (i, c, b) in enumerate(boxes, 1)
        ],
        "categories": [
            {"id": 7, "name": "seven"},
            {"id": 3, "name": "three: 3"},
            {"id": 5, "name": "5"},
        ],
    }


@pytest.fixture
def run(tmp_path):
    """Return a function that converts a JSON beside ``images`` and returns (summary, out)."""

    def convert(data: object, **options):
        source = tmp_path / "instances.json"
        source.write_text(data if isinstance(data, str) else json.dumps(data))
        out = tmp_path / "out"
        return import_coco(source, tmp_path / "images", out, **options), out

    return convert


def labels(out: Path) -> dict[str, list[list[float]]]:
    """Return the rows of every label file by stem."""
    return {
        p.stem: [[float(v) for v in line.split()] for line in p.read_text().splitlines()]
        for p in (out / "labels").rglob("*.txt")
    }


def test_layout_remap_and_record(tmp_path, run):
    """Every file that is promised, with ids in order and a name that YAML must quote."""
    summary, out = run(toy(tmp_path))
    assert (summary.train, summary.val, summary.boxes, summary.empty) == (8, 2, 12, 0)
    assert summary.names == ("three: 3", "seven") and summary.skipped == ()
    data = yaml.safe_load((out / "data.yaml").read_text("utf-8"))
    assert data == {
        "train": "images/train",
        "val": "images/val",
        "names": {0: "three: 3", 1: "seven"},
    }
    rows = labels(out)
    assert rows["5"] == [[1, 0.35, 0.35, 0.5, 0.5]] and len(rows["0"]) == 2
    record = json.loads((out / "conversion.json").read_text())
    assert record["remap"]["7"] == {"index": 1, "name": "seven"}
    for split in ("train", "val"):
        assert sorted(record["split"][split]) == sorted(
            p.name for p in (out / "images" / split).iterdir()
        )
        assert {p.stem for p in (out / "images" / split).iterdir()} == {
            p.stem for p in (out / "labels" / split).iterdir()
        }
    assert {p.name for p in tmp_path.iterdir()} == {"images", "instances.json", "out"}


def test_clips_drops_and_counts(tmp_path, run):
    """Seven kinds of useless box, a crowd, an orphan, and one box across the border."""
    data = toy(tmp_path)
    wrong = [
        [39, 0, 20, 9],
        [5, 5, 0, 4],
        [50, 50, 4, 4],
        [1, 1, -3, 3],
        [1, 2, 3],
        "x",
        [1, 1, 1e999, 2],
    ]
    for k, box in enumerate(wrong):
        data["annotations"].append({"id": 50 + k, "image_id": 5, "category_id": 7, "bbox": box})
    data["annotations"] += [
        {"id": 90, "image_id": 6, "category_id": 7, "bbox": [-10, 20, 20, 20]},
        {"id": 91, "image_id": 6, "category_id": 7, "bbox": [0, 0, 9, 9], "iscrowd": 1},
        {"id": 92, "image_id": 999, "category_id": 7, "bbox": [0, 0, 9, 9]},
    ]
    summary, out = run(data)
    # 1e999 is infinite; Ultralytics would not take it, nor a box of one pixel's width
    assert (summary.degenerate, summary.crowds, summary.orphans, summary.boxes) == (7, 1, 1, 13)
    assert labels(out)["6"][1] == pytest.approx([1, 5 / 40, 25 / 30, 10 / 40, 10 / 30], abs=1e-6)


def test_smallest_side_is_an_option(tmp_path, run):
    """A larger limit drops more."""
    assert run(toy(tmp_path), min_box_px=7)[0].degenerate == 2  # 8 x 6 px


def test_images_without_objects_stay_and_classes_are_kept_on_request(tmp_path, run):
    """Background images have an empty label file."""
    data = toy(tmp_path)
    data["annotations"] = data["annotations"][:4]
    summary, out = run(data, all_classes=True)
    assert summary.empty == 6 and labels(out)["9"] == []
    assert summary.names == ("three: 3", "5", "seven")


def test_most_frequent_classes_only(tmp_path, run):
    """The rarer class is left out and the other becomes 0."""
    summary, out = run(toy(tmp_path), classes=1)
    assert summary.names == ("seven",) and summary.boxes == 10
    assert {row[0] for rows in labels(out).values() for row in rows} == {0}


def test_bad_images_are_named_and_the_rest_is_written(tmp_path, run, capsys):
    """Exit code 3, each image with its reason, the other five converted."""
    data = toy(tmp_path)
    images = tmp_path / "images"
    (images / "0.png").unlink()
    (images / "1.png").write_bytes((images / "1.png").read_bytes()[:60])
    Image.new("RGB", (30, 40)).save(images / "2.png")
    data["images"][3]["file_name"] = "../secret.png"
    Image.new("RGB", (40, 30)).save(tmp_path / "secret.png")
    data["images"][4]["file_name"] = "4.gif"
    (tmp_path / "instances.json").write_text(json.dumps(data))
    keys = {"source": str(tmp_path / "instances.json"), "images": str(images)}
    assert coco_main({**keys, "out": str(tmp_path / "out")}) == 3
    text = capsys.readouterr().out
    reasons = (
        "0.png is not in",
        "1.png cannot be",
        "2.png is 30x40",
        "../secret.png is out",
        "4.gif is not",
    )
    assert all(f"skipped: {reason}" in text for reason in reasons)
    assert len(labels(tmp_path / "out")) == 5


def test_same_stem_in_two_folders_gets_two_label_files(tmp_path, run):
    """The label file of one must not replace that of the other."""
    data = toy(tmp_path)
    for i, name in ((8, "a/same.png"), (9, "b/same.png")):
        path = tmp_path / "images" / name
        path.parent.mkdir()
        (tmp_path / "images" / f"{i}.png").rename(path)
        data["images"][i]["file_name"] = name
    assert {"same", "same_9"} < set(labels(run(data)[1]))


def test_links_whole_files_and_copies_where_ultralytics_would_repair(tmp_path, run, monkeypatch):
    """Ultralytics rewrites such a JPEG in place, which must not reach the original."""
    data = toy(tmp_path)
    Image.new("RGB", (40, 30)).save(tmp_path / "images" / "9.jpg")
    with (tmp_path / "images" / "9.jpg").open("ab") as file:
        file.write(b"tail")  # decodes, but does not end in the end mark
    data["images"][9]["file_name"] = "9.jpg"
    _, out = run(data)
    copies = {p.name: p for p in (out / "images").rglob("*.*")}
    assert copies["1.png"].samefile(tmp_path / "images" / "1.png")
    assert not copies["9.jpg"].samefile(tmp_path / "images" / "9.jpg")


def test_copies_where_links_are_impossible(tmp_path, run, monkeypatch):
    """A file system without links costs space, no error."""

    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    _, out = run(toy(tmp_path))
    assert len(list((out / "images").rglob("*.png"))) == 10


def test_split_and_subset_are_reproducible_and_stratified(tmp_path):
    """Each class keeps its share in the subset and its one image in training."""
    data = toy(tmp_path, 40)
    data["annotations"] += [
        {"id": 100 + i, "image_id": 10 + i, "category_id": 5, "bbox": [0, 0, 9, 9]}
        for i in range(10)
    ]
    source = tmp_path / "instances.json"
    source.write_text(json.dumps(data))
    splits = []
    for k, seed in enumerate((0, 0, 1)):
        out = tmp_path / str(k)
        summary = import_coco(source, tmp_path / "images", out, seed=seed, max_images=20)
        assert (summary.train, summary.val) == (16, 4)
        splits.append(json.loads((out / "conversion.json").read_text())["split"])
        rows = labels(out)
        held = Counter(row[0] for part in rows.values() for row in part)
        assert held == {0: 1, 1: 5, 2: 20}  # half of 2, of 10 and of 40
        val = Counter(row[0] for name in splits[-1]["val"] for row in rows[Path(name).stem])
        assert val[1] == 1 and val[0] == 0  # a class with a single image is for training
    assert splits[0] == splits[1] != splits[2]


def test_segments_of_polygons_pieces_and_rle(tmp_path, run):
    """Areas of the written outlines equal those of the shapes."""
    data = toy(tmp_path)
    square, other = [4, 3, 24, 3, 24, 18, 4, 18], [30, 20, 36, 20, 36, 26]
    mask = np.zeros((30, 40), int)
    mask[3:18, 4:24] = 1
    runs, value = [0], 0
    for v in mask.T.ravel():
        if v != value:
            runs, value = [*runs, 0], v
        runs[-1] += 1
    for row, shape in zip(
        data["annotations"],
        ([square], [square, other], {"size": [30, 40], "counts": runs}, [[1, 2]], None),
        strict=False,
    ):
        row["segmentation"] = shape
    data["annotations"] = data["annotations"][:5]
    summary, out = run(data, task="segment")
    rows = labels(out)
    assert (summary.boxes, summary.degenerate) == (3, 2)
    assert rows["0"][0] == pytest.approx([0, *np.divide(square, [40, 30] * 4)], abs=1e-6)
    for name, area in (("1", 300 + 18), ("2", 19 * 14)):  # contours run through pixel centres
        points = np.array(rows[name][0][1:], np.float32).reshape(-1, 2) * (40, 30)
        assert cv2.contourArea(points.astype(np.float32)) == pytest.approx(area, rel=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: "{", "is not valid JSON"),
        (lambda d: [1], "holds a list"),
        (lambda d: {**d, "images": []}, "'images' is empty"),
        (lambda d: {k: v for k, v in d.items() if k != "annotations"}, "'annotations' is missing"),
        (lambda d: {**d, "annotations": []}, "'annotations' is empty"),
        (lambda d: {**d, "categories": {"a": 1}}, "'categories' is not a list"),
        (lambda d: {**d, "images": [{"id": 1}]}, r"images\[0\] lacks 'file_name'"),
        (
            lambda d: {**d, "images": [*d["images"], {**d["images"][0], "file_name": "b.png"}]},
            "images hold id 0 twice",
        ),
        (
            lambda d: {**d, "categories": [*d["categories"], {"id": 7, "name": "other"}]},
            "categories hold id 7 twice",
        ),
        (lambda d: {**d, "categories": [{"id": "x", "name": "y"}]}, "no object is left"),
        (lambda d: {**d, "images": d["images"][:1]}, "at least 2"),
    ],
)
def test_bad_json_is_one_line_and_leaves_nothing(tmp_path, run, change, message):
    """The message names the entry; nothing is written."""
    with pytest.raises(NASError, match=message) as error:
        run(change(toy(tmp_path)))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_no_object_left(tmp_path, run):
    """An empty data set is refused with the counts that explain it."""
    with pytest.raises(NASError, match="no object is left in 10 images"):
        run(toy(tmp_path), min_box_px=100)


def test_missing_files_and_a_used_out(tmp_path, run):
    """Each message says which of the three paths is wrong."""
    data = toy(tmp_path)
    with pytest.raises(NASError, match="cannot be read"):
        import_coco(tmp_path / "none.json", tmp_path / "images", tmp_path / "out")
    with pytest.raises(NASError, match="is not a folder"):
        import_coco(tmp_path / "none.json", tmp_path / "none", tmp_path / "out")
    (tmp_path / "out").mkdir()
    run(data)  # an empty folder is welcome
    with pytest.raises(NASError, match="not an empty folder"):
        run(data)


def test_a_full_disk_leaves_nothing(tmp_path, run, monkeypatch):
    """The temporary folder goes, too."""
    data = toy(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(convert, "write_split", full)
    with pytest.raises(NASError, match="No space left on device"):
        run(data)
    assert {p.name for p in tmp_path.iterdir()} == {"images", "instances.json"}


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"val_fraction": 1.0}, "val=1.0"),
        ({"task": "detection"}, "Did you mean 'detect'"),
        ({"min_box_px": float("nan")}, "min_box_px=nan"),
        ({"max_images": 1}, "subset=1"),
        ({"classes": 0}, "classes=0"),
    ],
)
def test_options_out_of_range(tmp_path, run, option, message):
    """The message begins with the key as the command spells it."""
    with pytest.raises(NASError, match=message):
        run(toy(tmp_path), **option)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"clases": 3}, "Did you mean 'classes'"),
        ({"classes": "many"}, "classes=many: not allowed; classes takes a whole number"),
        ({"seed": True}, "seed=True"),
        ({"images": ""}, "images: is required"),
    ],
)
def test_command_checks_its_keys(keys, message):
    """Unknown, mistyped and missing keys."""
    with pytest.raises(NASError, match=message):
        coco_main({"source": "a.json", "images": "b", "out": "c", **keys})


def test_command_prints_a_table(tmp_path, capsys):
    """The last line can be pasted into a training command."""
    (tmp_path / "instances.json").write_text(json.dumps(toy(tmp_path)))
    keys = {"source": tmp_path / "instances.json", "images": tmp_path / "images"}
    assert (
        coco_main({**keys, "out": tmp_path / "out", "val": 0.3, "subset": 10, "classes": None}) == 0
    )
    text = capsys.readouterr().out
    assert "val images                  3" in text
    assert text.endswith(f"data={tmp_path / 'out' / 'data.yaml'}\n")


def test_ultralytics_reads_what_was_written(tmp_path, run, monkeypatch):
    """`val` resolves against the YAML, not against Ultralytics' settings."""
    utils = pytest.importorskip("ultralytics.data.utils")
    monkeypatch.setattr(utils, "check_font", lambda *_: None)  # would ask the internet
    _, out = run(toy(tmp_path))
    data = utils.check_det_dataset(str(out / "data.yaml"), autodownload=False)
    assert Path(data["val"]) == (out / "images" / "val").resolve() and data["nc"] == 2


@pytest.mark.realdata
def test_coco128_against_its_annotations_and_a_public_conversion(shared_data, tmp_path):
    """Two oracles: pycocotools counts the boxes, a published conversion places them."""
    root = Path(shared_data) / "coco128"
    source = root / "annotations" / "instances_train2017.json"
    summary = import_coco(source, root / "train2017", tmp_path / "out", min_box_px=0)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(source))
    wanted = truth.loadAnns(truth.getAnnIds(iscrowd=False))
    assert summary.boxes + summary.degenerate == len(wanted)
    assert summary.degenerate == 0 and summary.skipped == ()
    assert (summary.train, summary.val, summary.crowds) == (102, 26, 10)
    used = sorted({a["category_id"] for a in wanted})
    assert summary.names == tuple(truth.cats[key]["name"] for key in used)
    everything = sorted(truth.cats)
    back = {i: everything.index(key) for i, key in enumerate(used)}  # ours -> 0..79
    compared = 0
    for stem, rows in labels(tmp_path / "out").items():
        reference = root / "labels_det" / f"{stem}.txt"
        if not reference.exists():
            assert rows == []
            continue
        ours = sorted([back[int(row[0])], *row[1:]] for row in rows)
        theirs = sorted(
            [float(v) for v in line.split()] for line in reference.read_text().splitlines()
        )
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert a == pytest.approx(b, abs=2e-6)
        compared += len(ours)
    assert compared == summary.boxes


@pytest.mark.realdata
def test_coco128_split_keeps_rare_classes_for_training(shared_data, tmp_path):
    """Of 20 classes, each is in training and has about its fifth in validation."""
    root = Path(shared_data) / "coco128"
    source = root / "annotations" / "instances_train2017.json"
    summary = import_coco(source, root / "train2017", tmp_path / "out", classes=20)
    held = {
        split: Counter(
            name
            for p in (tmp_path / "out" / "labels" / split).iterdir()
            for name in {int(line.split()[0]) for line in p.read_text().splitlines()}
        )
        for split in ("train", "val")
    }
    assert len(summary.names) == 20
    for name in range(20):
        n = held["train"][name] + held["val"][name]
        assert held["train"][name] > 0
        assert n < 3 or abs(held["val"][name] - 0.2 * n) <= 2
