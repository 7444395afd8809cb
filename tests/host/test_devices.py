"""Pools of devices, on GPUs that torch is told of."""

import pytest
import torch
from ultralytics.utils import torch_utils

from yolo_nas_ext.config.search import configure
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host import devices
from yolo_nas_ext.host.arguments import REFUSED, TRAINING
from yolo_nas_ext.host.training.settings import TrainingSettings


@pytest.fixture
def gpus(monkeypatch):
    """Four of them, none of which can compute."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: None)
    monkeypatch.setattr(torch_utils, "get_gpu_info", str)
    yield
    devices.use("")


@pytest.mark.parametrize(
    ("given", "pool"),
    [
        (None, ()),
        ("0,1,2,3", ("0", "1", "2", "3")),
        ([0, 1], ("0", "1")),
        ("[2, 3]", ("2", "3")),
        ("cuda:1", ("1",)),
        ("cuda:0,cuda:3", ("0", "3")),
        ("cuda", ("0",)),
        (3, ("3",)),
        ("1,1", ("1",)),
        ("cpu", ("cpu",)),
    ],
)
def test_lists_are_pools_and_jobs_are_their_length(gpus, given, pool):
    config = configure({} if given is None else {"device": given}, TRAINING, REFUSED)
    assert devices.pool(config.device) == pool and config.jobs == max(1, len(pool))


def test_idle_gpus_are_chosen_by_ultralytics(gpus, monkeypatch):
    from ultralytics.utils import autodevice

    class Idle:
        def select_idle_gpu(self, count, **options):
            return [2, 0][:count]

    monkeypatch.setattr(autodevice, "GPUInfo", Idle)
    config = configure({"device": "-1,-1"}, TRAINING, REFUSED)
    assert devices.pool(config.device) == ("2", "0") and config.jobs == 2


@pytest.mark.parametrize("given", ["4", "0,7", "cuda:9", "mps"])
def test_what_is_not_there_is_refused_with_what_is(gpus, given):
    config = configure({"device": given}, TRAINING, REFUSED)
    with pytest.raises(NASError, match=r"device=.*here one of cpu, 0, 1, 2, 3"):
        devices.pool(config.device)


@pytest.mark.parametrize("given", ["0,cpu", "0,,1", True, "cpu,cpu,mps"])
def test_what_is_no_list_of_gpus_is_refused(given):
    with pytest.raises(NASError, match=r"device takes cpu, mps, the number of a GPU"):
        configure({"device": given}, TRAINING, REFUSED)


def test_a_worker_trains_on_its_own_and_the_search_itself_on_the_first(gpus):
    settings = TrainingSettings(epochs=1, imgsz=64, batch=4, device="2,3")
    assert settings.arguments()["device"] == "2"
    devices.use("3")
    assert settings.arguments()["device"] == "3"


def test_given_jobs_and_a_cluster_stay_as_they_are():
    config = configure({"device": "0,1", "jobs": 6}, TRAINING, REFUSED)
    assert config.jobs == 6
    assert configure({"device": "0,1", "executor": "ray"}, TRAINING, REFUSED).jobs == 1
