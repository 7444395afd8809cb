import random

import pytest
import torch

from tests.helpers.shapes import draw
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.estimators.multi_fidelity import REPORTED, Rungs, parse
from yolo_nas_ext.estimators.training import ShortTraining
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.space.detector import DetectorSpace


class Stub:
    """Trains nothing, and writes into a checkpoint how much was trained in all."""

    seed = 5

    def __init__(self, fidelity):
        self.fidelity = fidelity
        self.calls = []

    def estimate(self, architecture, fidelity, weights=None, inherit=None):
        before = int(inherit.read_text()) if inherit else 0
        self.calls.append((fidelity["epochs"], before))
        if weights:
            weights.write_text(str(before + int(fidelity["epochs"])))
        return {"fitness": float(before + fidelity["epochs"])}


@pytest.mark.parametrize(
    ("grows", "epochs", "expected"),
    [
        ((), 9, [(1, 192, 90), (3, 192, 90), (9, 192, 90)]),
        ((), 6, [(1, 192, 90), (2, 192, 90), (6, 192, 90)]),
        ((), 1, [(1, 192, 90)]),
        (("imgsz",), 100, [(11, 64, 90), (33, 96, 90), (100, 192, 90)]),
        (("images", "epochs"), 9, [(1, 192, 10), (3, 192, 30), (9, 192, 90)]),
    ],
)
def test_rungs(grows, epochs, expected):
    rungs = Rungs(Stub({"epochs": epochs, "imgsz": 192, "images": 90}), grows).rungs
    assert [(r["epochs"], r["imgsz"], r["images"]) for r in rungs] == expected


def test_a_rung_goes_on_from_the_one_before_and_leaves_nothing(tmp_path):
    stub = Stub({"epochs": 9, "imgsz": 64, "images": 9})
    rungs, told = Rungs(stub), []
    weights = tmp_path / "weights" / "a.pt"
    metrics = rungs.estimate(None, report=lambda *m: told.append(m), weights=weights)
    assert stub.calls == [(1, 0), (2, 1), (6, 3)] and metrics == {"fitness": 9.0}
    assert told == [(1, {REPORTED: 1.0}), (3, {REPORTED: 3.0})]
    assert [f.name for f in weights.parent.rglob("*") if f.is_file()] == ["a.pt"]
    assert rungs.estimate(None) == metrics  # without a folder too


def test_a_killed_trial_goes_on_at_its_rung_and_a_pruned_one_leaves_nothing(tmp_path):
    stub = Stub({"epochs": 9, "imgsz": 64, "images": 9})
    weights = tmp_path / "weights" / "a.pt"

    def killed(step, metrics):
        if step == 3:
            raise KeyboardInterrupt

    def pruned(step, metrics):
        raise TrialError("pruned", "fell behind")

    with pytest.raises(KeyboardInterrupt):
        Rungs(stub).estimate(None, report=killed, weights=weights)
    stub.calls.clear()
    told = []
    Rungs(stub).estimate(None, report=lambda step, _: told.append(step), weights=weights)
    assert stub.calls == [(6, 3)] and told == [1, 3]  # the pruner hears of all rungs
    with pytest.raises(TrialError):
        Rungs(stub).estimate(None, report=pruned, weights=tmp_path / "weights" / "b.pt")
    assert [f.name for f in weights.parent.rglob("*") if f.is_file()] == ["a.pt"]


@pytest.mark.slow
def test_a_real_training_goes_on_from_all_of_its_weights(tmp_path):
    data = read(draw(tmp_path / "shapes"))
    space = DetectorSpace.load("tiny")
    architecture = space.architecture(space.sample(random.Random(0)))
    torch.set_num_threads(1)
    rungs = Rungs(ShortTraining(data, epochs=3, imgsz=64, batch=4, threads=1), ("images",))
    seen = []
    metrics = rungs.estimate(
        architecture, report=lambda *m: seen.append(m), weights=tmp_path / "weights" / "a.pt"
    )
    assert metrics["inherited_percent"] == 100 and [step for step, _ in seen] == [1]
    again = rungs.estimate(architecture, weights=tmp_path / "weights" / "b.pt")
    assert again == metrics  # the same numbers from the same seed


@pytest.mark.parametrize("text", ["hyperband", "asha:pixels", "asha:imgsz+imag"])
def test_other_fidelities_are_refused(text):
    with pytest.raises(NASError, match="Allowed: asha"):
        parse(text)


def test_what_grows():
    assert parse("asha") == () and parse("asha:imgsz+images") == ("imgsz", "images")
