"""Ranks of a distributed training on this machine's CPU, which talk by gloo.

Ultralytics distributes over GPUs alone. In a rank all that is of a GPU is replaced: its device, the
way in which ranks talk, and the wrapper of the model, which wants to know of GPUs.
"""

from __future__ import annotations

import faulthandler
import os
from typing import Any

import pytest
import torch
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.utils import torch_utils

from yolo_nas_ext.host.training.distributed import Launch
from yolo_nas_ext.host.training.lean import LeanMixin

SIZE = 2
LONG = 200  # seconds, after which a rank that waits for another one ends, and says where it is


class _OnCpu(DistributedDataParallel):
    def __init__(self, module: Any, device_ids: Any = None, **more: Any) -> None:
        super().__init__(module, **more)


class CpuLaunch(Launch):
    """A launch whose ranks train on the CPU."""

    def train(self) -> None:
        faulthandler.dump_traceback_later(LONG, exit=True)
        _replace_gpus()
        self.args.device = "cpu"
        super().train()


def _replace_gpus() -> None:
    made, reduce = LeanMixin.__init__, dist.reduce

    def init(self: Any, *args: Any, **more: Any) -> None:
        made(self, *args, **more)
        self.world_size = SIZE

    def mean(tensor: torch.Tensor, dst: int, op: Any) -> None:
        reduce(tensor, dst, dist.ReduceOp.SUM)  # gloo has no mean
        tensor /= SIZE if op == dist.ReduceOp.AVG else 1

    def talk(self: Any) -> None:
        dist.init_process_group("gloo", rank=int(os.environ["RANK"]), world_size=SIZE)

    LeanMixin.__init__ = init
    BaseTrainer._setup_ddp = talk
    dist.reduce = mean
    torch.nn.parallel.DistributedDataParallel = _OnCpu


def tell_of_gpus(monkeypatch: pytest.MonkeyPatch, count: int = SIZE) -> None:
    """Have torch count GPUs in this process, none of which can compute."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: None)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: torch.zeros(1))
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: None)
    monkeypatch.setattr(torch_utils, "get_gpu_info", str)
