"""One training on several GPUs: by Ultralytics' command, with its arguments, on pretended GPUs."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.engine import trainer as ultralytics_trainer
from ultralytics.models.yolo.detect import DetectionTrainer

from tests.helpers.ranks import SIZE, CpuLaunch, tell_of_gpus
from tests.helpers.trained import SPLIT, network, run, train
from tests.host.training.test_as_yolo_train import DIFFER
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.estimators.training import UntouchedTraining
from yolo_nas_ext.host import models
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.host.training import distributed
from yolo_nas_ext.host.training.session import quiet


def pictures(sees, there):
    """A measure that counts what was measured on."""
    assert sees.shapes == there.shapes
    return {"fitness": float(len(there.boxes))}


@pytest.mark.slow
def test_two_ranks_train_one_network(data, tmp_path, monkeypatch):
    tell_of_gpus(monkeypatch)
    monkeypatch.setattr(distributed, "Launch", CpuLaunch)
    begun, told = [], []
    found = run(
        data,
        device="0,1",
        together=True,
        measure=pictures,
        weights=tmp_path / "found.pt",
        on_epoch=lambda epoch, metrics: told.append((epoch, metrics)),
        initial=lambda model, names: begun.append(dict(names)),
    ).metrics
    assert found["fitness"] == len(SPLIT[1])  # of both ranks, one of which measured
    assert [epoch for epoch, _ in told] == [1, 2] and told[1][1] == found
    assert begun == [dict(data.names)]  # once, for all ranks
    monkeypatch.undo()
    alone = run(data).metrics
    for name in ("val_loss_box", "val_loss_cls"):  # the same training, but for its batch norms
        assert found[name] == pytest.approx(alone[name], rel=0.1)
    assert YOLO(tmp_path / "found.pt").names == dict(data.names)


@pytest.mark.slow
def test_what_goes_wrong_in_a_rank_is_the_training_s_error(data, monkeypatch):
    tell_of_gpus(monkeypatch)
    monkeypatch.setattr(distributed, "Launch", CpuLaunch)
    more = {"device": "0,1", "together": True, "epochs": 1}
    with pytest.raises(TrialError, match="stopped in epoch") as caught:
        train(network(0), data, timeout=1e-3, **more)
    assert caught.value.kind == "timeout"


class Written(Exception):
    """Ends a training where its ranks would begin."""


def written(command):
    """Return a command without its port, the script without names, and the arguments of ranks."""
    script = Path(command[-1])
    state = torch.load(script.with_suffix(".pt"), weights_only=False)
    text = script.read_text().replace(str(script.with_suffix(".pt")), "state.pt")
    port = command.index("--master_port") + 1
    return [*command[:port], *command[port + 1 : -1]], text, state


@pytest.mark.parametrize("given", [{}, {"amp": "bf16", "lr0": 0.02, "workers": 3, "cos_lr": True}])
def test_the_command_and_its_arguments_are_those_of_yolo_train(path, given, tmp_path, monkeypatch):
    tell_of_gpus(monkeypatch)
    found = []

    def ours(command, **more):
        found.append(written(command))
        raise Written

    keys = {"epochs": 4, "imgsz": 64, "batch": 4, "seed": 3}
    own = UntouchedTraining(
        read(path),
        read(path, part="val"),
        **keys,
        device="0,1",
        together=True,
        overrides=given,
    )
    monkeypatch.setattr(distributed.subprocess, "Popen", ours)
    with pytest.raises(TrialError, match="Written"):
        own.estimate(models.scaled(*models.definition("yolo11n.yaml", "detect")))
    monkeypatch.setattr(ultralytics_trainer.subprocess, "run", ours)
    stock = {**keys, **given, "device": "0,1", "model": "yolo11n.yaml", "cache": "ram"}
    stock |= {"data": str(path), "project": str(tmp_path), "plots": False}
    with quiet(), pytest.raises(Written):
        DetectionTrainer(overrides=stock).train()
    (command, script, state), (their_command, their_script, their_state) = found
    assert command == their_command and str(SIZE) in command
    assert script == their_script
    assert state["args"].keys() == their_state["args"].keys() and state["args"]["device"] == "0,1"
    differ = {n for n, v in their_state["args"].items() if state["args"][n] != v}
    assert differ <= DIFFER.keys(), differ - DIFFER.keys()
    assert state["trainer"] is distributed.Launch
    assert isinstance(state["model"].model, nn.Module)


SAYS = """
import json, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
def say(name, **content):
    (folder / name).write_text(json.dumps(content))
def epoch(number):
    with (folder / "epochs.jsonl").open("a") as file:
        file.write(json.dumps([number, {"loss": 0.5}]) + chr(10))
"""


@pytest.fixture
def launched(monkeypatch, tmp_path):
    """Ranks that do what a text says; their scripts are gone afterwards."""
    monkeypatch.setattr(distributed, "PAUSE", 0.01)
    begun = []
    popen = subprocess.Popen

    def counted(*args, **more):
        begun.append(popen(*args, **more))
        return begun[-1]

    monkeypatch.setattr(distributed.subprocess, "Popen", counted)

    def launch(says, on_epoch=None):
        def command(launch):
            file = tmp_path / f"_temp_{id(launch)}.py"
            file.write_text("")
            folder = str(launch.model.folder)
            return [sys.executable, "-c", SAYS + says, folder], str(file)

        monkeypatch.setattr(distributed, "generate_ddp_command", command)
        trainer = SimpleNamespace(
            setup_model=lambda: None,
            model=nn.Linear(1, 1),
            args=SimpleNamespace(device="0,1"),
            world_size=2,
            save_dir=tmp_path,
            callers_error=None,
        )
        try:
            return distributed.launched(
                trainer, lambda: None, lambda trainer: {}, threads=1, on_epoch=on_epoch
            )
        finally:
            assert not list(tmp_path.glob("_temp_*"))
            assert all(process.poll() is not None for process in begun)

    return launch


def test_epochs_are_told_and_the_first_rank_says_the_result(launched):
    told = []
    says = "epoch(1); time.sleep(0.2); epoch(2); say('result.json', fitness=0.5)"
    assert launched(says, lambda *one: told.append(one)) == {"fitness": 0.5}
    assert told == [(1, {"loss": 0.5}), (2, {"loss": 0.5})]


def test_the_rank_that_knows_why_is_believed(launched):
    says = """
say("rank0.json", kind="error", text="connection reset by peer")
say("rank1.json", kind="memory", text="CUDA out of memory")
sys.exit(1)
"""
    with pytest.raises(TrialError, match="CUDA out of memory") as caught:
        launched(says)
    assert caught.value.kind == "memory"
    with pytest.raises(NASError, match="single_cls=True: not with"):
        launched("say('rank0.json', kind='', text='single_cls=True: not with'); sys.exit(1)")


def test_ranks_that_say_nothing_are_an_error_with_their_last_line(launched):
    with pytest.raises(TrialError, match="ended with code 3: Segmentation fault"):
        launched("print('Segmentation fault'); print(); sys.exit(3)")


def test_whoever_stops_the_training_leaves_no_process(launched):
    class Pruned(Exception):
        pass

    def on_epoch(epoch, metrics):
        raise Pruned

    with pytest.raises(Pruned):
        launched("epoch(1); time.sleep(600)", on_epoch)
