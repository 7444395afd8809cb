"""Comparisons: in turns, recorded at once, resumed, and interrupted."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.executors.test_spread import Two
from yolo_nas_ext.compare import comparison, outputs
from yolo_nas_ext.compare.run import run
from yolo_nas_ext.errors import TrialError
from yolo_nas_ext.executors.run_trial import run_trial
from yolo_nas_ext.host.dataset import read


def test_in_turns_and_recorded_at_once(make):
    found, training, said = make({"a": 0.3, "yolo": 0.2})
    counts = []
    found.train(lambda _: counts.append(len(found.leaderboard().evaluations)))
    assert training.asked == [("a", 0), ("yolo", 0), ("a", 1), ("yolo", 1)]
    assert counts == [1, 2, 3, 4] and found.complete
    assert found.leaderboard().values("a") == {0: 0.3, 1: 0.31}
    assert found.weights("a").read_text() == "weights"
    assert said[0].startswith("training 1/4  a  seed 0  mAP50-95 0.3000") and "left" in said[0]
    assert "left" not in said[-1]


def test_several_gpus_share_the_trainings(make, monkeypatch):
    """Each training is of one worker; in each place a fake that evaluates in this process."""
    asked = []

    class Workers(Two):
        def __init__(self, estimate, jobs, devices):
            super().__init__()
            asked.append((jobs, devices))
            self.estimate = estimate

        def wait(self, prune):
            return run_trial(super().wait(prune), self.estimate, prune)

    monkeypatch.setattr(comparison, "Processes", Workers)
    monkeypatch.setattr(comparison.devices, "pool", lambda device: tuple(device.split(",")))
    found, training, said = make({"a": 0.3, "b": ValueError("bad"), "yolo": 0.2}, device="0,1")
    counts = []
    found.train(lambda _: counts.append(len(found.leaderboard().evaluations)))
    assert asked == [(2, ("0", "1"))] and counts == [1, 2, 3, 4, 5, 6] and found.complete
    assert sorted(training.asked) == [(n, s) for n in ("a", "b", "yolo") for s in (0, 1)]
    assert found.leaderboard().values("a") == {0: 0.3, 1: 0.31}
    assert found.weights("a").read_text() == "weights"
    assert said[0].startswith("training 1/6  ") and said[-1].startswith("training 6/6  ")
    assert sum("failed (error: ValueError: bad)" in line for line in said) == 2
    found.train()  # nothing is left
    assert len(training.asked) == 6


def test_it_goes_on_where_it_was(make):
    first, _, _ = make({"a": 0.3, "b": KeyboardInterrupt})
    with pytest.raises(KeyboardInterrupt):
        first.train()
    second, training, said = make({"a": 0.3, "b": 0.1, "c": 0.2}, seeds=3)
    assert not second.complete
    second.train()
    # What was recorded is not trained again, also where models and seeds were added.
    assert ("a", 0) not in training.asked and len(training.asked) == 8
    assert said[0] == "1 of 9 trainings are recorded already"
    third, training, _ = make({"a": 0.3, "b": 0.1, "c": 0.2}, seeds=3)
    third.train()
    assert not training.asked and len(third.leaderboard().evaluations) == 9


def test_what_has_changed_is_trained_again(make, tmp_path):
    make({"a": 0.3})[0].train()
    for more in ({"epochs": 4}, {"lr0": 0.1}):
        found, training, _ = make({"a": 0.3}, **more)
        found.train()
        assert len(training.asked) == 2, more
    found, training, _ = make({"a": 0.31})  # the file was edited
    found.train()
    assert len(training.asked) == 2 and found.leaderboard().values("a")[0] == 0.31
    for file in (tmp_path / "trainings").iterdir():
        file.write_text(file.read_text()[:20])  # damaged
    found.train()
    assert len(training.asked) == 4


def test_a_model_under_another_name_is_the_same(make):
    make({"a": 0.3})[0].train()
    found, training, _ = make({"a": 0.3})
    found = replace(found, models=(replace(found.models[0], name="renamed"),))
    found.train()
    assert not training.asked and found.leaderboard().values("renamed") == {0: 0.3, 1: 0.31}


def test_a_failed_training_is_recorded_and_the_rest_goes_on(make):
    found, training, said = make({"a": TrialError("nan", "the loss is nan"), "yolo": 0.2})
    found.train()
    assert len(training.asked) == 4 and "failed (nan: the loss is nan)" in said[0]
    assert [e.error for e in found.leaderboard().failed()] == ["nan: the loss is nan"] * 2
    found.train()
    assert len(training.asked) == 4  # it would fail again
    assert "failed" in outputs.table(found.leaderboard())


def test_time_left_is_said_within_a_training_now_and_then(make, monkeypatch):
    monkeypatch.setattr(comparison, "EVERY", -1.0)
    found, _, said = make({"a": 0.3}, seeds=1)
    found.train()
    assert [line.split("  ")[3] for line in said[:3]] == [f"epoch {n}/3" for n in (1, 2, 3)]


def test_changed_data_are_trained_on_anew(shapes, make, tmp_path):
    folder = Path(shutil.copytree(shapes.parent, tmp_path / "set"))

    def trained():
        found, training, said = make({"a": 0.3})
        training.data = read(folder)
        found.train()
        return len(training.asked), said

    assert trained()[0] == 2
    first, second, *_ = sorted((folder / "images" / "train").iterdir())
    first.write_bytes(second.read_bytes())
    count, said = trained()
    assert count == 2 and "the data set has changed (" in said[0]
    assert trained() == (0, ["2 of 2 trainings are recorded already"])


def test_interrupted_it_says_what_there_is(make, capsys, tmp_path):
    found, _, _ = make({"a": 0.3, "b": KeyboardInterrupt})
    _, interrupted = run(found)
    assert interrupted and "No baseline was trained; a is best" in capsys.readouterr().out
    assert (tmp_path / "comparison.html").is_file()


def test_results_are_written_once_a_training(make, monkeypatch):
    written = []
    monkeypatch.setattr(outputs, "write", lambda _: written.append(1))
    run(make({"a": 0.3, "b": 0.2})[0])
    assert len(written) == 5  # and once before the first
    run(make({"a": 0.3, "b": 0.2})[0])
    assert len(written) == 6


def test_no_two_models_share_files(make):
    names = ["a b", "a_b", "A_b", "a/b", "é", "plain", "plain-x"]
    found, _, _ = make(dict.fromkeys(names, 0.3))
    for file in (found.weights, found.definition):
        paths = {str(file(name)).casefold() for name in names}  # as some file systems see them
        assert len(paths) == len(names)
        assert {file(name).parent for name in names} == {file("plain").parent}
    plain = {name: found.weights(name).stem for name in ("A_b", "plain", "plain-x")}
    assert plain == {name: name for name in plain}
    alone, _, _ = make({"a b": 0.3})  # as before
    assert alone.weights("a b").name == "a_b.pt"
