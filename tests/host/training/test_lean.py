import hashlib
import math
import shutil
from pathlib import Path

import pytest

from tests.helpers.trained import run
from yolo_nas_ext.errors import TrialError
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.host.training import image_cache, lean

MOSAIC = {"nbs": 4, "mosaic": 1.0, "close_mosaic": 0}


def test_only_the_split_is_read(data, monkeypatch):
    """Held-out images are not trained on, and the user's val is not opened."""
    import cv2
    from ultralytics.data import base

    image_cache.forget()
    opened = []
    imread = base.imread
    monkeypatch.setattr(base, "imread", lambda f, *a, **k: opened.append(f) or imread(f, *a, **k))
    run(data, epochs=1)
    assert sorted(opened) == sorted(data.images)  # each decoded once
    run(data, seed=1, epochs=1)
    assert len(opened) == len(data.images)
    assert cv2 is not None and not any("/val/" in Path(f).as_posix() for f in opened)


def test_images_that_do_not_fit_are_read_from_disk_with_the_same_result(data, monkeypatch):
    held = run(data, epochs=1).metrics
    mosaics = run(data, epochs=1, overrides=MOSAIC).metrics
    image_cache.forget()
    monkeypatch.setattr(image_cache, "MEMORY", 0.0)
    assert run(data, epochs=1).metrics == held
    assert not any(image_cache.kept().values())
    assert run(data, epochs=1, overrides=MOSAIC).metrics == mosaics


def test_what_changed_on_disk_is_read_again(path, tmp_path):
    """A user corrects labels and images between two searches of one session."""
    folder = tmp_path / "set"
    shutil.copytree(path.parent, folder)
    losses = [run(read(folder / "data.yaml"), epochs=1).metrics["loss_box"]]
    for file in (folder / "labels" / "train").glob("*.txt"):
        file.write_text("0 .5 .5 .3 .3\n")
    losses.append(run(read(folder / "data.yaml"), epochs=1).metrics["loss_box"])
    for file in (folder / "images" / "train").glob("*.png"):
        shutil.copy(folder / "images" / "val" / "000.png", file)
    losses.append(run(read(folder / "data.yaml"), epochs=1).metrics["loss_box"])
    assert len(set(losses)) == 3


def test_the_users_folder_stays_as_it_is(path, tmp_path):
    folder = tmp_path / "set"
    shutil.copytree(path.parent, folder)
    # Ultralytics takes this for its own cache of the image, and deletes it as a damaged one.
    (folder / "images" / "train" / "000.npy").write_bytes(b"the user's own")

    def state():
        return {
            p: hashlib.sha256(p.read_bytes()).digest() for p in folder.rglob("*") if p.is_file()
        }

    before = state()
    run(read(folder / "data.yaml"), epochs=1)
    assert state() == before


def test_one_class_for_all_leaves_the_labels_alone(data):
    before = [label["cls"].copy() for label in data.labels]
    run(data, epochs=1, overrides={"nbs": 4, "single_cls": True})
    assert all((a == b["cls"]).all() for a, b in zip(before, data.labels, strict=True))


def test_sets_of_images_are_let_go(data):
    for imgsz in (64, 96, 128):
        run(data, epochs=1, imgsz=imgsz)
    assert [key[1] for key in image_cache.kept()] == [96, 128]


def test_augmentation_leaves_the_decoded_images_alone(data):
    run(data, epochs=1)
    (held,) = (known for key, known in image_cache.kept().items() if key[1] == 64)
    before = {file: image[0].copy() for file, (_, image) in held.items()}
    assert len(before) == 12
    run(data, epochs=2, overrides={"hsv_v": 0.9, "hsv_h": 0.5, "mosaic": 1.0, "nbs": 4})
    assert all((before[file] == image[0]).all() for file, (_, image) in held.items())


def test_nan_is_a_failed_trial(data):
    with pytest.raises(TrialError, match=r"loss is (nan|inf)") as caught:
        run(data, epochs=3, overrides={"box": 1e39, "nbs": 4})
    assert caught.value.kind == "nan"


def test_weights_that_are_not_finite_are_a_failed_trial(data, monkeypatch):
    step = lean.LeanDetectionTrainer.optimizer_step

    def last(self):
        step(self)
        if self.ema.updates == 6:  # the last of two epochs of three steps
            next(self.ema.ema.parameters()).fill_(math.nan)

    monkeypatch.setattr(lean.LeanDetectionTrainer, "optimizer_step", last)
    with pytest.raises(TrialError) as caught:
        run(data)
    assert caught.value.kind == "nan"


def test_timeout(data):
    with pytest.raises(TrialError, match="stopped in epoch") as caught:
        run(data, epochs=500, timeout=1.0)
    assert caught.value.kind == "timeout"


def test_measuring_after_every_epoch(data):
    seen = []
    metrics = run(data, every=1, on_epoch=lambda _, m: seen.append(m)).metrics
    assert [("fitness" in m, "loss_box" in m) for m in seen] == [(True, True)] * 2
    assert seen[-1] == metrics
    # Measuring in between changes nothing of the training.
    assert metrics == run(data, on_epoch=lambda _, m: seen.append(m)).metrics
    assert "fitness" not in seen[2] and seen[3] == metrics


def test_epochs_are_reported(data):
    seen = []
    run(data, on_epoch=lambda epoch, losses: seen.append((epoch, losses["loss_box"])))
    assert [epoch for epoch, _ in seen] == [1, 2] and all(v > 0 for _, v in seen)
