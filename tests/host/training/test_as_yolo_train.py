"""The finals' trainer beside the one of `yolo train` with the same keys, argument by argument."""

import re

import pytest
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.utils.torch_utils import unset_deterministic

from yolo_nas_ext.estimators.training import UntouchedTraining
from yolo_nas_ext.host import models
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.host.training.lean import LeanDetectionTrainer
from yolo_nas_ext.host.training.session import quiet

# Arguments in which they may differ, and why.
DIFFER = {
    **dict.fromkeys(("model", "data"), "a definition and a data set in memory, not files"),
    **dict.fromkeys(("name", "project", "save_dir", "exist_ok"), "a temporary folder"),
    **dict.fromkeys(("save", "plots", "verbose"), "what is written and said, not what is trained"),
    "val": "measured once, after the last epoch: no network is picked by what it is measured on",
    "patience": "for the same reason no training ends early",
    "cache": "images stay decoded where they fit, and a mosaic draws from all of them as with ram",
}
KEYS = {"epochs": 4, "imgsz": 64, "batch": 4, "seed": 3}
GIVEN = [
    {"amp": "bf16", "deterministic": False, "close_mosaic": 1, "warmup_epochs": 1.0, "degrees": 5},
    pytest.param({}, marks=pytest.mark.slow),
    pytest.param(
        {"optimizer": "SGD", "lr0": 0.02, "momentum": 0.8, "nbs": 16, "cos_lr": True, "amp": False},
        marks=pytest.mark.slow,
    ),
]


def groups(optimizer):
    """What an optimiser does with how many parameters; how it computes a step is left out."""
    found = []
    for group in optimizer.param_groups:
        said = {n: v for n, v in group.items() if n not in ("params", "fused", "foreach")}
        found.append((len(group["params"]), said))
    return type(optimizer), found


@pytest.mark.parametrize("given", GIVEN)
def test_finals_train_as_yolo_train_does(path, given, tmp_path):
    train, measured = read(path), read(path, part="val")
    own = UntouchedTraining(train, measured, **KEYS, device="cpu", threads=1, overrides=given)
    definition = models.scaled(*models.definition("yolo11n.yaml", "detect"))
    arguments = {**own.settings.arguments(), "save_dir": str(tmp_path / "ours")}
    stock = {**KEYS, **given, "device": "cpu", "model": "yolo11n.yaml", "cache": "ram"}
    stock |= {"data": str(path), "project": str(tmp_path), "plots": False}
    try:
        with quiet():
            ours = LeanDetectionTrainer(definition, own.data, own.split, own.settings, arguments)
            theirs = DetectionTrainer(overrides=stock)
            assert vars(ours.args).keys() == vars(theirs.args).keys()
            differ = {n for n, v in vars(theirs.args).items() if vars(ours.args)[n] != v}
            assert differ <= DIFFER.keys(), differ - DIFFER.keys()
            ours._setup_train()
            theirs._setup_train()
        assert groups(ours.optimizer) == groups(theirs.optimizer)
        for name in ("batch_size", "accumulate", "amp", "epochs", "stride"):
            assert getattr(ours, name) == getattr(theirs, name), name
        assert ours.scaler.is_enabled() == theirs.scaler.is_enabled()
        assert [ours.lf(e) for e in range(4)] == [theirs.lf(e) for e in range(4)]
        assert ours.ema.decay(100) == theirs.ema.decay(100)
        for one, other in (
            (ours.train_loader, theirs.train_loader),
            (ours.test_loader, theirs.test_loader),
        ):
            assert len(one) == len(other) and one.batch_size == other.batch_size
        transforms = [str(t.train_loader.dataset.transforms) for t in (ours, theirs)]
        assert _without_addresses(transforms[0]) == _without_addresses(transforms[1])
        counts = [sum(p.numel() for p in t.model.parameters()) for t in (ours, theirs)]
        assert counts[0] == counts[1]
    finally:
        unset_deterministic()


def _without_addresses(text):
    return re.sub(r"0x[0-9a-f]+", "", text)
