"""Ultralytics' check of mixed precision, where there is no GPU to check."""

import pytest
import torch
import ultralytics
from torch import nn
from ultralytics.engine import trainer
from ultralytics.utils import checks

from yolo_nas_ext.host.training import mixed


class OnGPU(nn.Module):
    """Looks like a model on a GPU."""

    def parameters(self):
        return iter([type("Parameter", (), {"device": torch.device("cuda:0")})()])


@pytest.fixture(autouse=True)
def _forgotten():
    mixed.forget()
    yield
    mixed.forget()


@pytest.mark.parametrize(("gpu", "works"), [("NVIDIA A100", True), ("GeForce GTX 1660", False)])
def test_offline_nothing_is_fetched_and_known_gpus_are_told(monkeypatch, tmp_path, gpu, works):
    asked = []
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: asked.append(device) or gpu)
    monkeypatch.setattr(mixed, "WEIGHTS_DIR", tmp_path)
    monkeypatch.setattr(mixed, "ONLINE", False)
    before = vars(ultralytics).get("YOLO")
    assert mixed.check(OnGPU()) is works is mixed.check(OnGPU())
    assert len(asked) == 1 and vars(ultralytics).get("YOLO") is before


def test_where_the_weights_are_here_ultralytics_own_check_decides(monkeypatch, tmp_path):
    (tmp_path / mixed.WEIGHTS).touch()
    monkeypatch.setattr(mixed, "WEIGHTS_DIR", tmp_path)
    monkeypatch.setattr(checks, "check_amp", lambda model: "theirs")
    assert mixed.check(OnGPU()) == "theirs"


def test_trainers_ask_it_meanwhile():
    theirs = trainer.check_amp
    with mixed.checked_once():
        assert trainer.check_amp is mixed.check
    assert trainer.check_amp is theirs
    assert mixed.check(nn.Linear(1, 1)) is False  # on a CPU
