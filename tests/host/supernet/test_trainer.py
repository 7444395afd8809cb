"""A supernet that is trained on several GPUs, which are pretended: its ranks talk by gloo."""

from copy import deepcopy
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import distributed
from ultralytics.utils import RANK

from tests.helpers.ranks import SIZE, CpuLaunch, tell_of_gpus
from tests.helpers.shapes import draw
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.host.supernet import trainer
from yolo_nas_ext.host.supernet.trainer import SupernetTrainer, average_gradients
from yolo_nas_ext.host.training import distributed as launches
from yolo_nas_ext.host.training.settings import TrainingSettings
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.space.supernet.sampling import paths
from yolo_nas_ext.space.supernet.slots import definition

SPLIT = (list(range(8)), [9, 10, 11])
FIXES = {"p2.block": "c2f", "p4.block": "c3k2", "p5.block": "k1kx", "neck.block": "c2f"}
EPOCHS = 1


class Compared(SupernetTrainer):
    """A trainer whose first rank writes down what it has before and after each step, and others."""

    def optimizer_step(self):
        if self.world_size < SIZE:
            super().optimizer_step()
            return
        own = self._of_all([p.grad for p in self.model.parameters() if p.grad is not None])
        average_gradients(self.model, self.world_size)
        mean, _ = self._of_all([p.grad for p in self.model.parameters() if p.grad is not None])
        super().optimizer_step()
        weights = self._of_all(list(self.model.parameters()))
        if RANK == 0:
            with Path(f"{self._file}.steps").open("ab") as file:
                torch.save({"own": own, "mean": mean, "weights": weights}, file)

    def _of_all(self, tensors):
        mine = torch.cat([tensor.detach().flatten() for tensor in tensors])
        found = [torch.empty_like(mine) for _ in range(self.world_size)]
        distributed.all_gather(found, mine)
        return found


def compared(*args, **more):
    return trainer.of_task(Compared, "detect")(*args, **more)


def steps(space, rule, epoch, step):
    return [space.architecture(point) for point in paths(rule, space, 0)(epoch, step)]


def fit(file, data, space, on_epoch=None, **more):
    """Train a supernet, and return how far its convolutions went from what they began with."""
    begun = []
    plain = {"nbs": 8, "optimizer": "SGD", "lr0": 0.01, "warmup_epochs": 0, "workers": 0}
    augment = dict.fromkeys(("mosaic", "fliplr", "scale", "translate", "hsv_h", "hsv_s"), 0.0)
    trainer.fit(
        definition(space, data.nc),
        data,
        SPLIT,
        TrainingSettings(
            epochs=EPOCHS, imgsz=64, batch=8, overrides={**plain, **augment, "hsv_v": 0.0}, **more
        ),
        checkpoint=file,
        made_with={},
        steps=partial(steps, space, "sandwich"),
        distill=1.0,
        trainer=compared,
        on_epoch=on_epoch,
        pause=0,
        initial=lambda: lambda model, names: begun.append(deepcopy(model.state_dict())),
    )
    return _flat(torch.load(file)["ema"]) - _flat(begun[0])


def test_sgd_takes_parameters_that_get_their_first_gradient_later(tmp_path):
    """Whose fused step of torch fails."""
    data = read(draw(tmp_path / "shapes"))
    space = DetectorSpace.load("tiny", fix=FIXES)
    assert 0 < float(fit(tmp_path / "supernet.pt", data, space).norm()) < 100


@pytest.mark.slow
def test_two_ranks_train_one_supernet(tmp_path, monkeypatch):
    data = read(draw(tmp_path / "shapes"))
    space = DetectorSpace.load("tiny", fix=FIXES)
    tell_of_gpus(monkeypatch)
    monkeypatch.setattr(launches, "Launch", CpuLaunch)
    told = []
    file = tmp_path / "ranks.pt"
    both = fit(file, data, space, lambda n, _: told.append(n), device="0,1", together=True)
    assert told == [1]
    step = torch.load(f"{file}.steps")
    first, second = step["own"]
    assert not torch.equal(first, second)  # of images of their own
    torch.testing.assert_close(step["mean"], (first + second) / 2)
    assert torch.equal(*step["weights"])
    monkeypatch.undo()
    alone = fit(tmp_path / "alone.pt", data, space)
    # A step as large: batch norms see half of the images, so that its direction is another.
    assert 0.7 < float(both.norm() / alone.norm()) < 1.4


def _flat(weights):
    return torch.cat([v.flatten() for n, v in weights.items() if n.endswith("conv.weight")])
