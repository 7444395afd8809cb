"""Every task trains through the lean trainer, on the same drawn shapes."""

import re
from dataclasses import replace

import numpy as np
import pytest
import yaml
from PIL import Image
from ultralytics import YOLO
from ultralytics.cfg import get_cfg

from tests.helpers.networks import SMALL
from tests.helpers.shapes import corners, draw, draw_for, pose, relabel
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.training import ShortTraining
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.host.training.image_cache import held
from yolo_nas_ext.network.parse import read as read_model
from yolo_nas_ext.space.detector import DetectorSpace

TINY = {**SMALL, "levels": "3-4"}


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """A data set of each task."""
    return {task: draw_for(task, tmp_path_factory.mktemp(task)) for task in NAMES}


def architecture(task):
    space = DetectorSpace.load("tiny", task)
    values = {name: options[0] for name, options in space.choices.items()}
    return space.architecture(space.canonical({**values, **TINY}))


NAMES = {
    "segment": {"map50_95", "mask_map50_95", "mask_precision"},
    "semantic": {"miou", "pixel_accuracy"},
    "obb": {"map50_95", "recall"},
    "pose": {"map50_95", "pose_map50_95"},
    "classify": {"accuracy_top1", "accuracy_top5"},
}


@pytest.mark.parametrize("task", NAMES)
def test_a_task_trains_and_its_weights_are_stock(task, sets, tmp_path):
    data = read(sets[task], task)
    before = sorted(sets[task].rglob("*") if sets[task].is_dir() else sets[task].parent.rglob("*"))
    estimator = ShortTraining(data, task=task, epochs=1, imgsz=64, batch=4, threads=1)
    metrics = estimator.estimate(architecture(task), weights=tmp_path / "best.pt")
    assert NAMES[task] <= set(metrics) and np.isfinite(list(metrics.values())).all()
    assert any(name.startswith("loss") for name in metrics)
    again = estimator.estimate(architecture(task))
    assert again == metrics
    model = YOLO(tmp_path / "best.pt")
    assert model.task == task and read_model(model.model.yaml) == architecture(task)
    after = sorted(sets[task].rglob("*") if sets[task].is_dir() else sets[task].parent.rglob("*"))
    assert before == after


@pytest.mark.parametrize("task", ["segment", "obb", "pose"])
def test_heads_of_yolo26_train(task, sets, tmp_path):
    data, plain = read(sets[task], task), architecture(task)
    own = replace(plain, head=replace(plain.head, reg_max=1, end2end=True, yolo26=True))
    estimator = ShortTraining(data, task=task, epochs=1, imgsz=64, batch=4, threads=2)
    metrics = estimator.estimate(own, weights=tmp_path / "best.pt")
    assert NAMES[task] <= set(metrics) and np.isfinite(list(metrics.values())).all()
    model = YOLO(tmp_path / "best.pt").model
    assert type(model.model[-1]).__name__.endswith("26") and read_model(model.yaml) == own


def test_dice_of_segmented_pictures_as_fitness(sets):
    data = read(sets["segment"], "segment")
    estimator = ShortTraining(
        data, task="segment", epochs=1, imgsz=64, batch=4, threads=1, fitness="dice"
    )
    seen = []
    measure = estimator.settings.measure
    noted = replace(estimator.settings, measure=lambda *both: seen.append(both) or measure(*both))
    estimator.settings = noted
    metrics = estimator.estimate(architecture("segment"))
    assert metrics["fitness"] == metrics["dice"] and "host_fitness" in metrics
    truth = seen[-1][1]
    for stem, masks in truth.masks.items():  # as large as the boxes around them, which they fill
        boxes = truth.boxes[stem]
        scale = masks.shape[-1] / 64
        area = sum((b[2] - b[0]) * (b[3] - b[1]) for b in boxes) * scale**2
        assert masks.shape[0] == 2 and 0.4 * area <= masks.sum() <= 2 * area
    with pytest.raises(NASError, match="is of task=segment, not detect"):
        ShortTraining(data, fitness="dice")


def test_semantic_masks_are_those_of_ultralytics(sets):
    """The oracle: Ultralytics' data set over the same polygons."""
    from ultralytics.data.dataset import PolygonSemanticDataset

    data = read(sets["semantic"], "semantic")
    assert data.names[data.nc - 1] == "background" and data.nc == 3
    arguments = {"imgsz": 64, "task": "semantic", "hyp": get_cfg(), "augment": False}
    mine = held(data.labels, data.labels, "oracle", data=data.data, **arguments)
    host = PolygonSemanticDataset(data.data["train"], data=data.data, **arguments)
    for index in range(len(data.labels)):
        for _ in range(2):  # drawn, and from memory
            a, b = (one.get_image_and_label(index) for one in (mine, host))
            assert (a["semantic_mask"] == b["semantic_mask"]).all()
            a["semantic_mask"][:] = 7


def masks_of(file):
    """Turn a set of rectangles into one of pictures of masks: 10 and 20 for its classes, else 0."""
    folder = file.parent
    for label in (folder / "labels").rglob("*.txt"):
        mask = np.zeros((64, 64), np.uint8)
        for line in label.read_text().splitlines():
            c, *xy = map(float, line.split())
            x0, y0, x1, y1 = (np.array(xy)[[0, 1, 4, 5]] * 64).round().astype(int)
            mask[y0:y1, x0:x1] = 10 * (int(c) + 1)
        target = folder / "masks" / label.relative_to(folder / "labels").with_suffix(".png")
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(target)
    content = yaml.safe_load(file.read_text())
    names = {0: "ground", 1: "one", 2: "two"}
    mapping = {0: 0, 10: 1, 20: 2}
    file.write_text(
        yaml.safe_dump({**content, "names": names, "masks_dir": "masks", "label_mapping": mapping})
    )


def test_semantic_masks_from_pictures(tmp_path):
    file = draw(tmp_path, train=6, val=2)
    relabel(tmp_path, corners)
    masks_of(file)
    (tmp_path / "masks/train/000.png").unlink()
    Image.fromarray(np.full((64, 64), 77, np.uint8)).save(tmp_path / "masks/train/001.png")
    before = sorted(tmp_path.rglob("*"))
    data = read(file, "semantic")
    assert data.nc == 3 and len(data.images) == 4
    assert "missing mask" in data.skipped[0] and "77" in data.skipped[1]
    estimator = ShortTraining(data, task="semantic", epochs=1, imgsz=64, batch=4, threads=1)
    assert 0 <= estimator.estimate(architecture("semantic"))["miou"] <= 1
    assert sorted(tmp_path.rglob("*")) == before
    content = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**content, "label_mapping": [1]}))
    with pytest.raises(NASError, match=r"key 'label_mapping'.*give value: class"):
        read(file, "semantic")


def test_semantic_segmentation_learns_and_refuses_one_class_for_all(sets):
    data = read(sets["semantic"], "semantic")
    estimator = ShortTraining(data, task="semantic", epochs=24, imgsz=64, batch=4, threads=1)
    learned = estimator.estimate(architecture("semantic"))
    estimator = ShortTraining(data, task="semantic", epochs=1, imgsz=64, batch=4, threads=1)
    assert learned["miou"] > estimator.estimate(architecture("semantic"))["miou"]
    estimator.settings = replace(estimator.settings, overrides={"single_cls": True})
    with pytest.raises(NASError, match="single_cls=True: not with task=semantic"):
        estimator.estimate(architecture("semantic"))


def test_a_classifier_learns(sets):
    data = read(sets["classify"], "classify")
    estimator = ShortTraining(data, task="classify", epochs=6, imgsz=64, batch=4, threads=1)
    assert estimator.estimate(architecture("classify"))["accuracy_top1"] == 1.0


def test_labels_are_those_of_ultralytics(sets):
    """The oracle: Ultralytics' own data sets over the same folders."""
    from ultralytics.data import YOLODataset

    for task in ("segment", "obb", "pose"):
        data = read(sets[task], task)
        host = YOLODataset(data.data["train"], data=data.data, task=task, imgsz=64)
        assert list(data.images) == host.im_files
        for mine, theirs in zip(data.labels, host.labels, strict=True):
            assert np.allclose(mine["bboxes"], theirs["bboxes"], atol=1e-6)
            for name in ("segments", "keypoints"):
                a, b = mine[name], theirs[name]
                assert (
                    (a is None) == (b is None) and np.allclose(a or 0, b or 0)
                    if a is None or (isinstance(a, list))
                    else np.allclose(a, b)
                )


@pytest.mark.parametrize(
    ("task", "line", "message"),
    [
        ("segment", "0 0.5 0.5 0.1 0.1", "needs polygons"),
        ("semantic", "0 0.5 0.5 0.1 0.1", "task=semantic needs polygons"),
        ("obb", "0 0.5 0.5 0.1 0.1", "task=obb needs oriented boxes"),
        ("pose", "0 0.5 0.5 0.1 0.1", "a pose has 11"),
    ],
)
def test_labels_of_another_task(task, line, message, tmp_path):
    file = draw(tmp_path, train=2, val=1)
    relabel(tmp_path, pose if task == "pose" else corners)
    content = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**content, "kpt_shape": [2, 3]}))
    (tmp_path / "labels/train/000.txt").write_text(line)
    found = read(file, task)
    assert len(found.images) == 1
    assert any(re.search(rf"000.txt.*: .*{message}", line) for line in found.skipped)


def test_a_folder_that_has_no_classes(tmp_path):
    (tmp_path / "train" / "one").mkdir(parents=True)
    with pytest.raises(NASError, match="task=classify give a folder with train/<class>"):
        read(tmp_path, "classify")
    file = draw(tmp_path / "boxes", train=2, val=1)
    with pytest.raises(NASError, match=r"kpt_shape.*needs the number of keypoints"):
        read(file, "pose")
