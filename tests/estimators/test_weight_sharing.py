import json
import pickle
import random
import subprocess
import sys
import time

import pytest
import torch
from ultralytics import YOLO

from tests.helpers.shapes import draw, draw_for
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.estimators.base import Context
from yolo_nas_ext.estimators.weight_sharing import FILE, SCORES, SharedWeights
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.host.supernet import trainer
from yolo_nas_ext.host.transfer import weights
from yolo_nas_ext.space.detector import DetectorSpace


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return read(draw(tmp_path_factory.mktemp("shapes")))


@pytest.fixture(scope="module")
def tiny():
    return DetectorSpace.load("tiny")


def estimator(data, space, folder, **more):
    settings = {"epochs": 2, "imgsz": 64, "batch": 4, "threads": 1, "overrides": {"workers": 0}}
    made = SharedWeights(data, space, **{**settings, "say": lambda line: None, **more})
    made.use_context(Context(folder))
    return made


@pytest.fixture(scope="module")
def run(data, tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    made = estimator(data, tiny, folder)
    made.estimate(network(tiny, 0))
    return folder, made


def network(space, seed):
    return space.architecture(space.sample(random.Random(seed)))


def test_networks_are_scored_by_one_supernet(run, tiny, data, tmp_path, monkeypatch):
    folder, made = run
    assert (folder / "supernet" / FILE).is_file()
    found = made.estimate(network(tiny, 1), weights=tmp_path / "nas-a.pt")
    assert {"fitness", "map50_95", "map50", "val_loss_box", "val_loss_cls"} <= set(found)
    assert made.estimate(network(tiny, 2)) != found
    monkeypatch.setattr(trainer, "session", lambda *_, **__: pytest.fail("trained again"))
    again = pickle.loads(pickle.dumps(estimator(data, tiny, folder)))
    assert again.estimate(network(tiny, 1)) == found  # from the file
    (folder / "supernet" / SCORES).unlink()
    third = estimator(data, tiny, folder)
    assert third.estimate(network(tiny, 1)) == found  # measured again
    third.close()


def test_a_score_is_that_of_the_stock_model_that_is_written(run, tiny, data, tmp_path):
    _, made = run
    file = tmp_path / "nas-a.pt"
    found = made.estimate(network(tiny, 1), weights=file)
    evaluator = made.evaluator(made.imgsz)
    loaded = YOLO(file).model.float()
    assert evaluator.score(loaded)["val_loss_cls"] == pytest.approx(found["val_loss_cls"], rel=0.02)
    fresh = [m for m in loaded.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert all(norm.momentum == 0.03 for norm in fresh)


def test_scores_are_kept_by_key(run, tiny, monkeypatch):
    folder, made = run
    made.estimate(network(tiny, 5))
    evaluator = made.evaluator(made.imgsz)
    monkeypatch.setattr(evaluator, "score", lambda model: pytest.fail("scored again"))
    made.estimate(network(tiny, 5))
    rows = [json.loads(line) for line in (folder / "supernet" / SCORES).read_text().splitlines()]
    assert network(tiny, 5).key in {row["key"] for row in rows}


def test_a_cut_line_of_the_scores_is_passed_over(run, tiny, data):
    folder, made = run
    file = folder / "supernet" / SCORES
    made.estimate(network(tiny, 6))
    file.write_text(file.read_text() + '{"key": "abc", "fitn')
    other = estimator(data, tiny, folder)
    assert other.estimate(network(tiny, 6)) == made.estimate(network(tiny, 6))
    other.close()


def test_a_network_of_another_space_is_a_failed_trial(run):
    damo = DetectorSpace.load("damo", fix={"head.reg_max": 16})
    with pytest.raises(TrialError, match="the supernet has no"):
        run[1].estimate(network(damo, 0))


def test_another_supernet_in_the_folder_is_refused(run, data, tiny):
    with pytest.raises(NASError, match="trained with epochs=2, not 3"):
        estimator(data, tiny, run[0], epochs=3).estimate(network(tiny, 0))
    with pytest.raises(NASError, match=r"head.reg_max"):
        SharedWeights(data, DetectorSpace.load("yolo"))
    with pytest.raises(NASError, match="sampling=best"):
        SharedWeights(data, tiny, sampling="best")
    with pytest.raises(NASError, match=r"relaxation=singel: no such.*Did you mean 'single'"):
        SharedWeights(data, tiny, learn=True, relaxation="singel")
    with pytest.raises(NASError, match="relaxation=gates: of strategy=darts"):
        SharedWeights(data, tiny, relaxation="gates")
    with pytest.raises(NASError, match=r"teacher=a\.pt: a supernet has no teacher but"):
        SharedWeights(data, tiny, teacher="a.pt")


@pytest.mark.parametrize(
    "task",
    ["segment", "classify", *(pytest.param(t, marks=pytest.mark.slow) for t in ("obb", "pose"))],
)
def test_a_search_of_another_task_learns_and_scores_by_its_fitness(task, tmp_path):
    data = read(draw_for(task, tmp_path / "shapes"), task)
    space = DetectorSpace.load("tiny", task, {"p4.width": 64, "p5.width": 96})
    made = estimator(data, space, tmp_path, learn=True, cost_weight=0.1)
    file = tmp_path / "nas-a.pt"
    found = made.estimate(network(space, 1), weights=file)
    assert [row["epoch"] for row in made.history()] == [2]
    assert any(abs(p - 1 / len(ps)) > 1e-4 for ps in made.distribution().values() for p in ps)
    if task == "classify":
        assert found["fitness"] == pytest.approx(
            (found["accuracy_top1"] + found["accuracy_top5"]) / 2
        )
    else:
        parts = [v for name, v in found.items() if name.endswith("map50_95")]
        assert found["fitness"] == pytest.approx(sum(parts))
    stock = YOLO(file)
    assert stock.task == task
    assert weights.load(file).architecture == network(space, 1)  # to be trained on from there
    assert not any("yolo_nas_ext" in type(module).__module__ for module in stock.model.modules())
    again = made.evaluator(made.imgsz).score(stock.model.float())
    losses = [name for name in found if name.startswith("val_loss")]
    assert losses and all(again[n] == pytest.approx(found[n], rel=0.05) for n in losses)
    made.close()


PROGRAM = """
import sys
from pathlib import Path
from tests.estimators.test_weight_sharing import estimator, small
from yolo_nas_ext.host.dataset import read

made = estimator(read(sys.argv[1]), small(), Path(sys.argv[2]), learn=True, epochs=4, pause=0)
print(made.distribution())
"""


def small():
    kinds = {"p2.block": "c2f", "p4.block": "c3k2", "p5.block": "k1kx", "neck.block": "c2f"}
    return DetectorSpace.load("tiny", fix=kinds)


@pytest.mark.slow
def test_a_killed_process_loses_nothing(data, tmp_path):
    def start(folder):
        command = [sys.executable, "-c", PROGRAM, str(data.source), str(folder)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    whole = start(tmp_path / "whole").communicate()[0]
    process = start(tmp_path / "cut")
    file = tmp_path / "cut" / "supernet" / FILE
    while not file.is_file():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert torch.load(file)["epoch"] < 4
    assert start(tmp_path / "cut").communicate()[0] == whole
