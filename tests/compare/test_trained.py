"""Comparing trained models: perfect ones score 1, and Ultralytics' own measures agree."""

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionValidator

from tests.helpers.scans import pairs
from tests.helpers.shapes import draw
from tests.host.training.test_tasks import architecture
from yolo_nas_ext.cli import main
from yolo_nas_ext.commands import compare, data
from yolo_nas_ext.compare import pictures, trained
from yolo_nas_ext.data.lesions import BY_MASKS, FILE
from yolo_nas_ext.data.scans import recipe
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.training import ShortTraining
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.host.predict import Trained, View
from yolo_nas_ext.metrics import coco, froc


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("shapes"), train=24, val=8)


@pytest.fixture(scope="module")
def model(shapes):
    """A detector that has learnt something."""
    path = shapes.parent / "model.pt"
    training = ShortTraining(read(shapes), epochs=40, imgsz=64, batch=4, threads=1)
    training.estimate(architecture("detect"), weights=path)
    return path


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    boxes = ((5, 8, 1, 12, 15, 4, 1), (20, 20, 0, 30, 38, 5, 4))
    pairs(folder / "in", n=5, boxes=boxes)
    data.main(
        {"source": str(folder / "in"), "out": str(folder / "out"), "task": "segment", "val": 0.5}
    )
    return folder / "out"


def perfect(data, task, *, spoil=lambda view: view):
    """A model that sees exactly what the labels say."""
    truth = read(data, task, part="val")
    between = recipe.resampled(Path(data))

    class Perfect:
        names, params = truth.names, 1_000

        def __init__(self, path, device=None):
            self.task = task

        def see(self, files, *, imgsz):
            labels = {label["im_file"]: label for label in truth.labels}
            for file in files:
                label = labels[file]
                if task == "classify":
                    scores = np.eye(len(self.names))[int(label["cls"][0, 0])]
                    yield spoil(View(file, label["shape"], np.zeros((0, 6)), None, scores))
                    continue
                masks = np.array(pictures.true_masks(label, between=between))
                masks = masks.reshape(-1, *label["shape"])
                boxes = pictures.true_boxes(label)
                if task == "semantic":
                    kinds = np.full(label["shape"], len(self.names) - 1)
                    for mask, row in zip(masks, boxes, strict=True):
                        kinds[mask] = row[4]
                    sure = np.ones(label["shape"])
                    yield View(file, label["shape"], np.zeros((0, 6)), classes=kinds, sure=sure)
                    continue
                yield spoil(View(file, label["shape"], boxes, masks if task == "segment" else None))

    return Perfect


def figures(capsys, *keys):
    assert main(["nas-compare", "models=a.pt", "json=True", *keys]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])[0]


def test_a_perfect_segmentation(scans, monkeypatch, capsys):
    monkeypatch.setattr(compare, "Trained", perfect(scans, "segment"))
    found = figures(capsys, f"data={scans}")
    for name in ("AP", "AR100", "mask_AP", "froc_cpm", "dice"):
        assert found[name] == pytest.approx(1), name
    assert found["dice_95"] == [1, 1] and found["patients"] == 2
    # Without the largest object of every slice: one of the two classes is never found.
    monkeypatch.setattr(compare, "Trained", perfect(scans, "segment", spoil=without_a_class))
    found = figures(capsys, f"data={scans}")
    for name in ("AP", "mask_AP", "froc_cpm", "dice"):
        assert found[name] == pytest.approx(0.5), name


@pytest.mark.parametrize("task", ("detect", "segment"))
def test_tiles_are_measured_as_slices(task, tmp_path, monkeypatch, capsys):
    boxes = ((5, 8, 1, 12, 15, 4, 1), (20, 20, 0, 30, 38, 5, 4))
    pairs(tmp_path / "in", n=2, boxes=boxes)
    keys = {"source": str(tmp_path / "in"), "out": str(tmp_path / "out"), "task": task}
    data.main({**keys, "val": 0.5, "tile": 32, "overlap": 0.5})
    monkeypatch.setattr(compare, "Trained", perfect(tmp_path / "out", task))
    found = figures(capsys, f"data={tmp_path / 'out'}")
    for name in ("AP", "froc_cpm", *(("dice", "mask_AP") if task == "segment" else ())):
        assert found[name] == pytest.approx(1), name
    assert found["lesions"] == 2 and found["scans"] == 1 and found["lesions_by"] == BY_MASKS
    truth = read(tmp_path / "out", task, part="val")
    assert found["images"] == len(truth.images) > 6  # tiles, of all six slices
    rows = {Path(str(label["im_file"])).stem: pictures.true_boxes(label) for label in truth.labels}
    shapes = {stem: (32, 32) for stem in rows}
    assert froc.evaluate(rows, rows, known=truth.lesions, shapes=shapes)["froc_cpm"] == 1


def test_scans_case_by_case(scans, tmp_path, monkeypatch, capsys):
    """Val has every slice, a lesion is one through them, and all is in mm."""
    monkeypatch.setattr(compare, "Trained", perfect(scans, "segment"))
    found = figures(capsys, f"data={scans}", f"out={tmp_path}")
    assert found["images"] == 2 * 6 and found["scans"] == 2
    assert found["lesions"] == 4 and found["lesions_by"] == BY_MASKS
    assert {Path(f).name for f in found["files"]} == {
        *("cases.csv", "sizes.csv", "froc.png", "sizes.png", "volumes.png")
    }
    with (tmp_path / "a/cases.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == ["label_1", "label_4"] * 2
    for row in rows:
        assert float(row["dice"]) == 1 and float(row["surface"]) == float(row["hausdorff95"]) == 0
        assert (row["lesions"], row["lesions_found"], row["false_alarms"]) == ("1", "1", "0")
        voxels = 7 * 7 * 3 if row["class"] == "label_1" else 10 * 18 * 5
        assert float(row["volume"]) == float(row["found_volume"]) == voxels / 1000
        assert row["unit"] == "mm, ml"
    with (tmp_path / "a/sizes.csv").open() as file:
        sizes = list(csv.DictReader(file))
    assert [(row["from"], row["lesions"], row["sensitivity"]) for row in sizes] == [
        *(("5", "2", "1"), ("10", "2", "1"))
    ]
    # Half of a class: distances and volumes are MONAI's and by hand.
    monkeypatch.setattr(compare, "Trained", perfect(scans, "segment", spoil=lower_half))
    figures(capsys, f"data={scans}", f"out={tmp_path}")
    with (tmp_path / "a/cases.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["class"] == "label_4"]
    for row in rows:
        assert float(row["found_volume"]) * 2 == float(row["volume"]) == 0.9
        assert float(row["dice"]) == pytest.approx(2 / 3, abs=1e-5)
        assert float(row["hausdorff95"]) == 9 and 0 < float(row["surface"]) < 9


def test_lesions_of_polygons_alone(scans, tmp_path, monkeypatch, capsys):
    """A data set that does not say its lesions, with an object that another one covers."""
    shutil.copytree(scans, tmp_path / "set")
    (tmp_path / "set" / FILE).unlink()
    label = max((tmp_path / "set/labels/val").iterdir(), key=lambda f: f.stat().st_size)
    row = next(line for line in label.read_text().splitlines() if line.startswith("0"))
    label.write_text(label.read_text() + "1" + row[1:] + "\n")  # two classes at one place
    monkeypatch.setattr(compare, "Trained", perfect(tmp_path / "set", "segment"))
    found = figures(capsys, f"data={tmp_path / 'set'}")
    assert found["lesions"] >= 5 and found["lesions_by"] == BY_MASKS and found["froc_cpm"] == 1


def lower_half(view):
    masks = view.masks.copy()
    for index in np.flatnonzero(view.boxes[:, 4] == 1):
        rows = np.flatnonzero(masks[index].any(1))
        masks[index][: rows[len(rows) // 2]] = False
    return View(view.file, view.shape, view.boxes, masks)


def test_one_patient_has_no_interval(scans, monkeypatch, capsys):
    monkeypatch.setattr(compare, "Trained", perfect(scans, "segment"))
    usual = trained.place
    monkeypatch.setattr(trained, "place", lambda *a: ("p0", *usual(*a)[1:]))
    assert main(["nas-compare", "models=a.pt", f"data={scans}"]) == 0
    said = capsys.readouterr().out
    assert "1.0000 (no interval)" in said and "2 scans of 1 patients" in said
    found = figures(capsys, f"data={scans}")
    assert found["froc_cpm_95"] == [None, None] and found["threshold"] == 0.25


def test_a_perfect_semantic_segmentation(scans, monkeypatch, capsys):
    monkeypatch.setattr(compare, "Trained", perfect(scans, "semantic"))
    found = figures(capsys, f"data={scans}")
    assert found["dice"] == found["froc_cpm"] == 1 and "AP" not in found


def test_areas_under_the_curve():
    pairs = [(0, np.array([0.9, 0.1])), (0, np.array([0.4, 0.6])), (1, np.array([0.5, 0.5]))]
    assert trained.auc(pairs) == pytest.approx(0.5) and trained.accuracy(pairs) == 1 / 3
    assert trained.auc([(0, np.array([1.0, 0])), (1, np.array([0, 1.0]))]) == 1
    assert np.isnan(trained.auc(pairs[:2]))


def without_a_class(view):
    kept = view.boxes[:, 4] == 0
    return View(view.file, view.shape, view.boxes[kept], view.masks[kept])


def test_classes_that_are_right(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "set"
    for part, n in (("train", 2), ("val", 4)):
        for name in ("dark", "light"):
            (folder / part / name).mkdir(parents=True)
            for index in range(n):
                cv2.imwrite(str(folder / part / name / f"{index}.png"), np.zeros((32, 32), "u1"))
    monkeypatch.setattr(compare, "Trained", perfect(folder, "classify"))
    found = figures(capsys, f"data={folder}")
    assert found["accuracy"] == found["auc"] == 1
    wrong = perfect(
        folder, "classify", spoil=lambda v: View(v.file, v.shape, v.boxes, None, np.eye(2)[0])
    )
    monkeypatch.setattr(compare, "Trained", wrong)
    assert figures(capsys, f"data={folder}")["accuracy"] == 0.5


def coco_of(data, folder):
    """The val part as a COCO JSON, with ids and an order of categories of its own."""
    truth = coco.Truth(data.names)
    for label in data.labels:
        truth.add(label["shape"], pictures.true_boxes(label))
    file = truth.write(folder)
    content = json.loads(file.read_text())
    ids = {1: 70, 2: 5}
    for row, label in zip(content["images"], data.labels, strict=True):
        row["file_name"] = label["im_file"].rpartition("/")[2]
    for row in content["categories"]:
        row["id"] = ids[row["id"]]
    for row in content["annotations"]:
        row["category_id"] = ids[row["category_id"]]
    file.write_text(json.dumps(content))
    return file


def test_numbers_on_a_coco_json_are_those_of_ultralytics(shapes, model, tmp_path, capsys):
    """Three ways to the same detections: our command twice, and Ultralytics' validator."""
    data = read(shapes, part="val")
    file, images = coco_of(data, tmp_path), shapes.parent / "images" / "val"
    assert (
        main(
            [
                "nas-compare",
                f"models={model}",
                f"coco={file}",
                f"images={images}",
                "imgsz=64",
                "json=True",
            ]
        )
        == 0
    )
    (found,) = json.loads(capsys.readouterr().out)
    assert main(["nas-compare", f"models={model}", f"data={shapes}", "imgsz=64", "json=True"]) == 0
    (of_data,) = json.loads(capsys.readouterr().out)
    assert {n: found[n] for n in coco.NAMES} == {
        n: pytest.approx(of_data[n], abs=1e-6) for n in coco.NAMES
    }
    validated = YOLO(model).val(
        data=str(shapes),
        imgsz=64,
        plots=False,
        verbose=False,
        workers=0,
        rect=False,
        project=str(tmp_path),
        name="val",
        exist_ok=True,
        save_json=True,
    )
    theirs = json.loads((tmp_path / "val" / "predictions.json").read_text())
    files = [label["im_file"] for label in data.labels]
    ours = np.concatenate([view.boxes for view in Trained(model).see(files, imgsz=64)])
    assert len(theirs) == len(ours)  # a box has several labels in both
    for column, of in (
        (5, [row["score"] for row in theirs]),
        (0, [row["bbox"][0] for row in theirs]),
    ):
        assert np.sort(ours[:, column]) == pytest.approx(np.sort(of), abs=2e-3)
    assert found["AP50"] > 0.2  # else there would be nothing to compare
    assert found["AP50"] == pytest.approx(validated.box.map50, abs=0.02)
    assert found["AP"] == pytest.approx(validated.box.map, abs=0.02)


def test_the_coco_evaluator_of_ultralytics_says_the_same(shapes, model, tmp_path):
    data = read(shapes, part="val")
    file = coco_of(data, tmp_path)
    ids = {label["im_file"]: index for index, label in enumerate(data.labels, 1)}
    rows = [
        row
        for view in Trained(model).see(list(ids), imgsz=64)
        for row in trained.detections(view, ids[view.file], {0: 70, 1: 5})
    ]
    ours = coco.numbers(file, rows)
    validator = DetectionValidator(args={"save_json": True, "mode": "val"}, save_dir=tmp_path)
    validator.training = False
    validator.jdict, validator.is_coco, validator.is_lvis, validator.gdict = rows, True, False, {1}
    theirs = validator.coco_evaluate({}, rows, str(file))
    assert theirs["metrics/mAP50-95(B)"] == pytest.approx(ours["AP"], abs=1e-6) and ours["AP"] > 0
    assert theirs["metrics/mAP50(B)"] == pytest.approx(ours["AP50"], abs=1e-6)
    for size in ("small", "medium", "large"):
        assert theirs[f"metrics/mAP_{size}(B)"] == pytest.approx(ours[f"AP_{size}"], abs=1e-6)


def test_pictures_that_are_not_there_are_named(shapes, model, tmp_path, capsys):
    data = read(shapes, part="val")
    file, images = coco_of(data, tmp_path), tmp_path / "val"
    shutil.copytree(shapes.parent / "images" / "val", images)
    first, second, *_ = sorted(images.iterdir())
    first.unlink()
    second.write_bytes(b"no picture")
    keys = [f"models={model}", f"coco={file}", f"images={images}", "imgsz=64"]
    assert main(["nas-compare", *keys]) == 3
    said = capsys.readouterr()
    assert first.name in said.err and f"{second.name}: cannot be decoded" in said.err
    assert "AP50" in said.out


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "models: is required"),
        ({"models": "a.pt"}, "data: give either"),
        ({"models": "a.pt", "data": "x", "coco": "y"}, "data=x: give either"),
        ({"models": "a.pt", "coco": "y.json"}, "images=None: is not a folder"),
        ({"models": "a.pt", "data": "x"}, "models=a.pt: no such checkpoint"),
        ({"model": "a.pt"}, "Did you mean 'models'"),
        ({"models": "a.pt", "imgsz": 100}, "imgsz=100: not allowed"),
    ],
)
def test_keys_that_cannot_be(keys, message):
    with pytest.raises(NASError, match=message):
        compare.main(keys)


def test_models_that_do_not_fit(shapes, model, scans, tmp_path):
    with pytest.raises(NASError, match="knows the classes shape0, shape1, but"):
        compare.main({"models": str(model), "data": str(scans)})
    damaged = tmp_path / "a.pt"
    damaged.write_bytes(b"x")
    with pytest.raises(NASError, match="cannot be loaded"):
        compare.main({"models": str(damaged), "data": str(shapes)})
    file = coco_of(read(shapes, part="val"), tmp_path)
    file.write_text(file.read_text().replace("shape", "form"))
    with pytest.raises(NASError, match="knows no category of"):
        compare.main(
            {
                "models": str(model),
                "coco": str(file),
                "images": str(shapes.parent / "images" / "val"),
            }
        )
