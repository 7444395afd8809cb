"""Checkpoints are read without running what they hold, by whichever key they are given."""

import os
import pickle
from typing import Any

import pytest
import torch
from timm.utils.summary import get_outdir
from ultralytics import YOLO
from ultralytics.nn import tasks

from yolo_nas_ext import cli
from yolo_nas_ext.cost.latency.protocol import Protocol
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host import restricted
from yolo_nas_ext.host.latency import measure_models
from yolo_nas_ext.host.models import build
from yolo_nas_ext.host.predict import Trained
from yolo_nas_ext.host.training import distillation
from yolo_nas_ext.host.transfer import parents, weights

TIMM = {
    "nc": 2,
    "backbone": [
        [-1, 1, "Timm", ["test_efficientnet", False, [2, 3]]],
        [0, 1, "Index", [0]],
        [0, 1, "Index", [1]],
    ],
    "head": [[[1, 2], 1, "Detect", ["nc"]]],
}


class Hostile:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


class HostileTimm(Hostile):
    """The same by a function of timm's, whose networks are known."""

    def __reduce__(self):
        return get_outdir, (str(self.folder),)


READERS = {
    "inherit": lambda path: weights.load(path),
    "model": lambda path: parents.load(path),
    "teacher": lambda path: distillation.load(path),
    "latency": lambda path: measure_models({"latency": path}, Protocol(runtime="torch")),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("made", ["plain", "timm", "beside timm", "old"])
def test_nothing_of_a_checkpoint_is_run(tmp_path, reader, made):
    path, marker = tmp_path / "evil.pt", tmp_path / "marker"
    if made in ("plain", "old"):
        content = {"model": Hostile(marker)}
        torch.save(content, path, _use_new_zipfile_serialization=made == "plain")
    elif made == "beside timm":
        model = build(TIMM, task="detect", ch=3, nc=2)
        torch.save({"model": model, "more": Hostile(marker)}, path)
    else:
        torch.save({"model": HostileTimm(marker)}, path)
    with pytest.raises(
        NASError, match=rf"^{reader}.*not a checkpoint that can be read safely"
    ) as e:
        READERS[reader](path)
    assert not marker.exists() and "\n" not in str(e.value) and e.value.code == 2
    if made != "old":  # of which torch does not tell the names
        name = "timm.utils.summary.get_outdir" if made == "timm" else "posix.mkdir"
        assert f"{name}, which no network needs and ULTRALYTICS_SAFE_LOAD=1" in str(e.value)


@pytest.mark.parametrize("kind", [Hostile, HostileTimm])
def test_the_attack_works_where_a_file_is_unpickled(tmp_path, kind):
    torch.save({"model": kind(tmp_path / "marker")}, tmp_path / "evil.pt")
    torch.load(tmp_path / "evil.pt", weights_only=False)
    assert (tmp_path / "marker").is_dir()


@pytest.mark.parametrize(
    "given",
    [["scale", "model={}", "flops=2x"], ["compare", "models={}", "data=d.yaml", "epochs=1"]],
)
def test_a_command_ends_in_one_line(tmp_path, monkeypatch, capsys, given):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Hostile(tmp_path / "marker")}, "evil.pt")
    assert cli.main([argument.format("evil.pt") for argument in given]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "=evil.pt: not a checkpoint that can be read safely (it holds posix.mkdir" in line
    assert os.listdir() == ["evil.pt"]


def test_a_network_of_timm_is_read(tmp_path):
    model = build(TIMM, task="detect", ch=3, nc=2)
    torch.save({"model": model.half()}, tmp_path / "timm.pt")
    found = restricted.content(tmp_path / "timm.pt", "model=timm.pt")["model"]
    ours, theirs = found.state_dict(), model.state_dict()
    assert ours.keys() == theirs.keys() and all(ours[n].equal(t) for n, t in theirs.items())
    image = torch.zeros(1, 3, 64, 64)
    with torch.no_grad():
        one, other = (m.float().eval()(image)[0] for m in (found, model))
    assert one.equal(other)


class Mine(torch.nn.Conv2d):
    """A module of a user's own."""


def test_a_module_that_was_registered_is_known(tmp_path, monkeypatch):
    torch.save({"model": Mine(1, 1, 1)}, tmp_path / "mine.pt")
    with pytest.raises(NASError, match=r"it holds .*\.Mine, which no network needs"):
        restricted.content(tmp_path / "mine.pt", "model=mine.pt")
    monkeypatch.setattr(tasks, "Mine", Mine, raising=False)
    assert type(restricted.content(tmp_path / "mine.pt", "model=mine.pt")["model"]) is Mine
    with pytest.raises(pickle.UnpicklingError):  # as before, for everybody else
        torch.load(tmp_path / "mine.pt", weights_only=True)


def test_what_a_checkpoint_is_built_of_is_not_evaluated(tmp_path):
    model = YOLO("yolo12n.yaml", verbose=False)  # which cannot be read, and is built as it is
    network: Any = model.model
    network.yaml["activation"] = f"__import__('os').mkdir({str(tmp_path / 'marker')!r})"
    model.save(tmp_path / "evil.pt")
    with pytest.raises(NASError, match=r"activation: .* is no layer of torch.nn"):
        parents.load(tmp_path / "evil.pt")
    assert not (tmp_path / "marker").exists()


def test_what_ultralytics_loads_is_as_safe_as_it_is_told_to_be(tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, "SAFE_LOAD", True)
    torch.save({"model": Hostile(tmp_path / "marker")}, tmp_path / "evil.pt")
    with pytest.raises(
        NASError, match=r"cannot be loaded .*; ULTRALYTICS_SAFE_LOAD=1 lets"
    ) as error:
        Trained(tmp_path / "evil.pt")
    assert "\n" not in str(error.value) and not (tmp_path / "marker").exists()
