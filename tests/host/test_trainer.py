import gc
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch
from torch import nn
from ultralytics.nn.modules import Conv
from ultralytics.nn.tasks import ClassificationModel, DetectionModel, yaml_model_load

from tests.host.shapes import draw
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.host import images, models
from yolo_nas_ext.host import trainer as lean
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.space.blocks import BLOCKS  # noqa: F401
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.space.emit import emit

SETTINGS = {"epochs": 2, "imgsz": 64, "batch": 4, "threads": 2, "overrides": {"nbs": 4}}
MOSAIC = {"nbs": 4, "mosaic": 1.0, "close_mosaic": 0}
SPLIT = (list(range(9)), [9, 10, 11])


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("shapes"))


@pytest.fixture(scope="module")
def data(path):
    return read(path)


def network(seed):
    import random

    space = DetectorSpace.load("tiny")
    return emit(space.architecture(space.sample(random.Random(seed))), 2)


def run(data, seed=0, **more):
    return lean.train(network(seed), data, SPLIT, **{**SETTINGS, **more})


def test_metrics_have_the_names_of_the_field(data):
    metrics = run(data).metrics
    assert {"fitness", "map50_95", "map50", "precision", "recall", "loss_box", "loss_cls"} <= set(
        metrics
    )
    assert all(math.isfinite(v) for v in metrics.values())
    assert metrics["loss_box"] > 0


PROGRAM = """
import json, sys
from yolo_nas_ext.host import trainer
from yolo_nas_ext.host import images, models
from yolo_nas_ext.host.dataset import read
sys.path.insert(0, sys.argv[2])
from tests.host.test_trainer import run
print(json.dumps(run(read(sys.argv[1])).metrics))
"""


def test_the_same_numbers_first_tenth_and_elsewhere(data, path):
    first = run(data).metrics
    run(data, seed=1, epochs=1)
    run(data, seed=2, epochs=1, imgsz=96)
    torch.rand(7)
    assert run(data).metrics == first
    root = Path(__file__).resolve().parents[2]
    child = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), str(root)],
        capture_output=True, text=True, check=True, cwd=root,
    )  # fmt: skip
    assert json.loads(child.stdout.splitlines()[-1]) == first
    assert run(data, **{"seed": 0, "epochs": 3}).metrics != first


def test_the_seed_changes_the_numbers(data):
    model = network(0)
    losses = {
        lean.train(model, data, SPLIT, **SETTINGS, seed=seed).metrics["loss_box"]
        for seed in (0, 1, 2)
    }
    assert len(losses) == 3


def test_it_learns(data):
    short = run(data, epochs=1).metrics
    longer = run(data, epochs=20, overrides={"nbs": 4, "optimizer": "AdamW", "lr0": 0.004}).metrics
    assert longer["loss_box"] + longer["loss_cls"] < 0.75 * (short["loss_box"] + short["loss_cls"])


def test_only_the_split_is_read(data, monkeypatch):
    """Held-out images are not trained on, and the user's val is not opened."""
    import cv2
    from ultralytics.data import base

    images._IMAGES.clear()
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
    images._IMAGES.clear()
    monkeypatch.setattr(images, "MEMORY", 0.0)
    assert run(data, epochs=1).metrics == held
    assert not any(images._IMAGES.values())
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
    # The host takes this for its own cache of the image, and deletes it as a damaged one.
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
    assert [key[1] for key in images._IMAGES] == [96, 128]


def test_augmentation_leaves_the_decoded_images_alone(data):
    run(data, epochs=1)
    (held,) = (known for key, known in images._IMAGES.items() if key[1] == 64)
    before = {file: image[0].copy() for file, (_, image) in held.items()}
    assert len(before) == 12
    run(data, epochs=2, overrides={"hsv_v": 0.9, "hsv_h": 0.5, "mosaic": 1.0, "nbs": 4})
    assert all((before[file] == image[0]).all() for file, (_, image) in held.items())


def test_nothing_is_printed_or_left_on_disk(data, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    run(data, epochs=1)
    out, err = capfd.readouterr()
    assert out == "" and err == "" and list(tmp_path.iterdir()) == []


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


@pytest.mark.parametrize("imgsz", [0, 16, 100, -32])
def test_image_sizes_are_taken_as_given_or_refused(data, imgsz):
    with pytest.raises(NASError, match="multiple of 32"):
        run(data, imgsz=imgsz)


def test_a_task_without_a_trainer(data):
    with pytest.raises(NASError, match="Did you mean 'detect'"):
        run(data, task="detekt")


def test_timeout(data):
    with pytest.raises(TrialError, match="given up in epoch") as caught:
        run(data, epochs=500, timeout=1.0)
    assert caught.value.kind == "timeout"


def test_a_build_failure_restores_the_host(data):
    model = {**network(0), "activation": "torch.nn.ReLU()"}
    model["backbone"] = [*model["backbone"], [-1, 1, "NoSuchModule", [8]]]
    activation = Conv.default_act
    with pytest.raises(TrialError) as caught:
        lean.train(model, data, SPLIT, **SETTINGS)
    assert caught.value.kind == "build" and "NoSuchModule" in str(caught.value)
    assert Conv.default_act is activation


def test_out_of_memory_is_a_failed_trial_and_the_batch_is_not_halved(data, monkeypatch):
    batches = []

    def loss(self, batch, preds=None):
        batches.append(len(batch["im_file"]))
        raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr("ultralytics.nn.tasks.BaseModel.loss", loss)
    with pytest.raises(TrialError) as caught:
        run(data)
    assert caught.value.kind == "memory" and batches == [4]


@pytest.mark.parametrize(
    "error",
    [MemoryError("x"), RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory")],
)
def test_every_kind_of_too_little_memory(data, monkeypatch, error):
    def loss(self, batch, preds=None):
        raise error

    monkeypatch.setattr("ultralytics.nn.tasks.BaseModel.loss", loss)
    with pytest.raises(TrialError) as caught:
        run(data)
    assert caught.value.kind == "memory"


def test_an_error_of_the_caller_gets_through(data):
    class Pruned(Exception):
        pass

    def stop(epoch, losses):
        raise Pruned

    with pytest.raises(Pruned):
        run(data, on_epoch=stop)


def test_measuring_after_every_epoch(data):
    seen = []
    metrics = run(data, every=1, on_epoch=lambda _, m: seen.append(m)).metrics
    assert [("fitness" in m, "loss_box" in m) for m in seen] == [(True, True)] * 2
    assert seen[-1] == metrics
    # Measuring in between changes nothing of the training.
    assert metrics == run(data, on_epoch=lambda _, m: seen.append(m)).metrics
    assert "fitness" not in seen[2] and seen[3] == metrics


def test_an_interrupt_gets_through(data, tmp_path):
    def stop(epoch, losses):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(data, on_epoch=stop, weights=tmp_path / "w.pt")
    assert list(tmp_path.iterdir()) == []


def test_epochs_are_reported(data):
    seen = []
    run(data, on_epoch=lambda epoch, losses: seen.append((epoch, losses["loss_box"])))
    assert [epoch for epoch, _ in seen] == [1, 2] and all(v > 0 for _, v in seen)


def models_alive():
    gc.collect()
    # By type: isinstance would ask lazy modules for attributes that warn.
    return sum(type(o) is nn.Conv2d for o in gc.get_objects())


def test_candidates_leave_nothing_behind(data):
    run(data, epochs=1)
    before = models_alive()
    handles = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    for seed in range(6):
        run(data, seed=seed, epochs=1)
    assert models_alive() <= before
    if sys.platform == "linux":
        assert len(os.listdir("/proc/self/fd")) <= handles


def test_a_model_goes_at_once(data, monkeypatch):
    """Without the garbage collector, and while the error of a failed trial is still held."""
    built = []
    setup = lean.LeanMixin.setup_model

    def watched(self):
        setup(self)
        built.append(weakref.ref(self.model))

    monkeypatch.setattr(lean.LeanMixin, "setup_model", watched)
    gc.disable()
    try:
        run(data, epochs=1)
        with pytest.raises(TrialError) as caught:
            run(data, timeout=0.0)
        assert caught.value.kind == "timeout" and len(built) == 2
        assert [model() for model in built] == [None, None]
    finally:
        gc.enable()


STOCK = """
import sys
sys.modules["yolo_nas_ext"] = None
import torch
from ultralytics import YOLO
model = YOLO(sys.argv[1])
assert model.task == "detect" and model.names == {0: "shape0", 1: "shape1"}
model.predict(torch.zeros(1, 3, 64, 64), verbose=False)
model.train(data=sys.argv[2], epochs=1, imgsz=64, batch=4, plots=False, amp=False, verbose=False,
            project=sys.argv[3], workers=0)
"""


@pytest.mark.parametrize("safe", ["0", "1"])
def test_the_checkpoint_is_a_stock_one(data, path, tmp_path, safe):
    weights = tmp_path / "model.pt"
    run(data, weights=weights)
    assert str(Path.home()).encode() not in weights.read_bytes()
    assert b"yolo_nas_ext" not in weights.read_bytes()
    child = subprocess.run(
        [sys.executable, "-c", STOCK, str(weights), str(path), str(tmp_path / "runs")],
        capture_output=True, text=True, env={**os.environ, "ULTRALYTICS_SAFE_LOAD": safe},
    )  # fmt: skip
    assert child.returncode == 0, child.stderr[-2000:]


def test_hand_made_models_train(data, tmp_path):
    for name in ("yolov8n", "yolo11n", "yolo26n"):
        definition = yaml_model_load(f"{name}.yaml")
        definition["yaml_file"] = str(tmp_path / "local" / f"{name}.yaml")
        weights = tmp_path / "model.pt"
        metrics = lean.train(
            definition, data, SPLIT, **{**SETTINGS, "epochs": 1, "weights": weights}
        ).metrics
        assert math.isfinite(metrics["loss_box"])
        assert str(tmp_path).encode() not in weights.read_bytes()
        model = torch.load(weights, weights_only=False)["model"]
        norms = [m for m in model.modules() if type(m) is nn.BatchNorm2d]
        assert {norm.momentum for norm in norms} == {0.03}  # the host's
        assert {p.dtype for p in model.parameters()} == {torch.float16}


@pytest.mark.parametrize("name", ["yolo11n", "yolo26n"])
def test_heads_of_every_kind_begin_alike(name):
    content, scale = models.definition(name)
    model = DetectionModel({**content, "scale": scale}, nc=3, verbose=False)
    lean.head_start(model, 64)
    head = model.model[-1]
    pairs = [(head.cv2, head.cv3)]
    if name == "yolo26n":  # end to end
        pairs.append((head.one2one_cv2, head.one2one_cv3))
    for boxes, scores in pairs:
        for box, score, stride in zip(boxes, scores, (8, 16, 32), strict=True):
            sides = box[-1].bias.view(4, head.reg_max)
            if head.reg_max > 1:  # the host decodes a side as the mean over its bins
                sides = sides.softmax(1) @ torch.arange(head.reg_max, dtype=torch.float32)
            assert torch.allclose(sides, torch.tensor(2.0), atol=0.05)
            # The host's odds for 5 objects among the cells of a level, for 640 px there.
            objects = score[-1].bias.detach().exp().sum() * (64 / stride) ** 2
            assert float(objects) == pytest.approx(5)


def test_other_heads_are_left_alone():
    content, _ = models.definition("yolo11n-cls")  # its head is no detection head
    model = ClassificationModel({**content, "scale": "n"}, nc=3, verbose=False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    lean.head_start(model, 64)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
