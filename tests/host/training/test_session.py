import gc
import os
import sys
import weakref

import pytest
from torch import nn
from ultralytics.nn.modules import Conv

from tests.helpers.trained import network, run, train
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.host.training import lean


def test_nothing_is_printed_or_left_on_disk(data, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    run(data, epochs=1)
    out, err = capfd.readouterr()
    assert out == "" and err == "" and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("imgsz", [0, 16, 100, -32])
def test_image_sizes_are_taken_as_given_or_refused(data, imgsz):
    with pytest.raises(NASError, match="multiple of 32"):
        run(data, imgsz=imgsz)


def test_a_build_failure_restores_ultralytics(data):
    model = {**network(0), "activation": "torch.nn.ReLU()"}
    model["backbone"] = [*model["backbone"], [-1, 1, "NoSuchModule", [8]]]
    activation = Conv.default_act
    with pytest.raises(TrialError) as caught:
        train(model, data)
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


def test_an_interrupt_gets_through(data, tmp_path):
    def stop(epoch, losses):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(data, on_epoch=stop, weights=tmp_path / "w.pt")
    assert list(tmp_path.iterdir()) == []


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

    def loss(self, batch, preds=None):
        raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr(lean.LeanMixin, "setup_model", watched)
    gc.disable()
    try:
        run(data, epochs=1)
        monkeypatch.setattr("ultralytics.nn.tasks.BaseModel.loss", loss)
        with pytest.raises(TrialError) as caught:
            run(data)
        assert caught.value.kind == "memory" and len(built) == 2
        assert [model() for model in built] == [None, None]
    finally:
        gc.enable()
