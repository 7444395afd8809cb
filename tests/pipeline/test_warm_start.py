"""inherit=parent and inherit=<.pt> through the whole job."""

import random
from dataclasses import replace

import pytest
import torch
from ultralytics import YOLO

from tests.helpers.parents import NARROW, checkpoint
from tests.helpers.shapes import draw, draw_for
from yolo_nas_ext.cli import main
from yolo_nas_ext.config import rules
from yolo_nas_ext.config.search import SearchSettings, configure
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.training import ShortTraining
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.pipeline import job, warm_start
from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

SMALL = {
    "epochs": 1,
    "imgsz": 64,
    "batch": 8,
    "baseline": "none",
    "population": 2,
    "seed": 3,
    "threads": 1,
    "inherit": "parent",
    "fix": ",".join(f"{name}:{value}" for name, value in NARROW.items()),
}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("shapes"))


def search(given):
    return job.search(given)


def result(done):
    return [(t.architecture.key, t.fitness, t.metrics) for t in done.study.trials]


def weights(done):
    return sorted(file.stem for file in (done.folder / "weights").glob("*.pt"))


# Which trial is the parent


def study(folder, *, states=("complete",) * 4, kept=(0, 1, 2, 3)):
    """Four trials whose points share 2, 3, 3 and 1 of four choices with (a, a, a, a)."""
    space = ChoiceSpace({name: ("a", "b") for name in "wxyz"})
    detector = DetectorSpace.load("tiny")
    rng = random.Random(0)
    record = Study(space)
    (folder / "weights").mkdir(exist_ok=True)
    for number, letters in enumerate(("aabb", "aaab", "aaba", "abbb")):
        point = space.point(dict(zip("wxyz", letters, strict=True)))
        trial = Trial(number, point, detector.architecture(detector.sample(rng)))
        record.finish(replace(record.start(trial), state=states[number], metrics={"fitness": 0.1}))
        if number in kept:
            warm_start.weights_of(folder, trial).touch()
    child = Trial(4, space.point(dict.fromkeys("wxyz", "a")), trial.architecture)
    return record, child


def chosen(folder, record, child):
    found = warm_start.nearest(child, record, folder)
    keys = {t.network.key: t.number for t in record.trials}
    return None if found is None else keys[found.stem]


def test_the_nearest_and_of_equals_the_later(tmp_path):
    assert chosen(tmp_path, *study(tmp_path)) == 2


@pytest.mark.parametrize(
    ("change", "parent"),
    [
        ({"kept": (0, 1, 3)}, 1),
        ({"states": ("complete", "complete", "failed", "complete")}, 1),
        ({"kept": (3,)}, 3),
        ({"kept": ()}, None),
    ],
)
def test_only_complete_trials_with_weights_are_parents(tmp_path, change, parent):
    assert chosen(tmp_path, *study(tmp_path, **change)) == parent


def test_only_trials_before_it_are_parents(tmp_path):
    record, child = study(tmp_path)
    assert chosen(tmp_path, record, replace(child, number=1)) == 0
    assert chosen(tmp_path, record, replace(child, number=0)) is None
    assert chosen(tmp_path, record, replace(child, point=None)) is None


# The whole job


@pytest.fixture(scope="module")
def whole(shapes, tmp_path_factory):
    """An uninterrupted search of four trials."""
    project = tmp_path_factory.mktemp("runs")
    return search({**SMALL, "data": str(shapes), "project": str(project), "trials": 4})


def test_children_start_from_parents(whole):
    first, *others = (t.metrics.get("inherited_percent", 0.0) for t in whole.study.trials)
    assert first == 0 and all(0 < percent <= 100 for percent in others)
    assert not whole.study.repeats


def test_at_the_end_the_best_alone_is_kept(whole):
    assert weights(whole) == [whole.study.best.network.key]
    assert any("some 2 bytes a parameter" in note for note in whole.notes)


@pytest.mark.slow
def test_an_interrupted_search_goes_on_as_it_would_have(
    whole, shapes, tmp_path, monkeypatch, capsys
):
    """Interrupted before its third trial: all weights stay until the resumed run has ended."""
    estimate, calls = ShortTraining.estimate, []

    def interrupted(self, *args, **more):
        calls.append(more.get("inherit"))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return estimate(self, *args, **more)

    monkeypatch.setattr(ShortTraining, "estimate", interrupted)
    given = {**SMALL, "data": str(shapes), "project": str(tmp_path), "trials": 4}
    stopped = search(given)
    assert len(weights(stopped)) == 2 and "2 trials' weights take" in capsys.readouterr().out
    assert calls[0] is None and calls[1] is not None
    done = search({"resume": str(stopped.folder)})
    assert result(done) == result(whole)
    assert weights(done) == weights(whole)
    assert "4 trials' weights take" in capsys.readouterr().out
    more = search({"resume": str(stopped.folder), "trials": 5})
    assert any("3 trials have no weights left" in note for note in more.notes)


# A search from a parent is a test of scenarios, too.
@pytest.mark.parametrize("key", ["inherit", pytest.param("pretrained", marks=pytest.mark.slow)])
def test_a_checkpoint_for_every_candidate(shapes, tmp_path, capsys, key):
    file = checkpoint(tmp_path, "own", nc=2)
    given = {**SMALL, "data": str(shapes), "project": str(tmp_path), "trials": 2, "finalists": 0}
    if key == "pretrained":  # whose space is made of the parent
        del given["fix"]
    done = search({**given, key: str(file)})
    assert all(t.metrics["inherited_percent"] > 0 for t in done.study.trials)
    page = (done.folder / "report.html").read_text()
    assert "own.pt" in page.partition("initial weights")[2][:200]


def test_it_is_off_by_default(whole):
    assert SearchSettings().inherit is None and whole.config.inherit == "parent"


@pytest.mark.parametrize("damaged", [False, True])
def test_a_bad_checkpoint_is_one_line_and_nothing_is_written(shapes, tmp_path, capsys, damaged):
    path = tmp_path / "source.pt"
    if damaged:
        path.write_bytes(b"PK damaged")
    arguments = [f"data={shapes}", f"project={tmp_path / 'runs'}", f"inherit={path}", "trials=1"]
    assert main(["search", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith(f"nas-search: inherit={path}: ") and "\n" not in error
    assert not (tmp_path / "runs").exists()


def test_an_estimator_that_does_not_train_has_no_use_for_weights():
    config = configure({"estimator": "resolved", "inherit": "parent"}, {}, {})
    with pytest.raises(NASError, match="inherit=parent: estimator=resolved does not start from"):
        rules.check(config)


def test_a_trained_network_starts_where_its_source_ended(shapes, tmp_path):
    """After a training of nearly no steps and rate the weights are still the source's.

    Its channels may stand in another order, in which the network is the same.
    """
    space = DetectorSpace.load("tiny")
    architecture = space.architecture(space.sample(random.Random(1)))
    options = {"epochs": 1, "imgsz": 64, "batch": 16, "threads": 1}
    first = ShortTraining(read(shapes), seed=1, **options)
    first.estimate(architecture, weights=tmp_path / "first.pt")
    still = ShortTraining(
        read(shapes), inherit=tmp_path / "first.pt", overrides={"lr0": 1e-12}, **options
    )
    metrics = still.estimate(architecture, weights=tmp_path / "second.pt")
    assert metrics["inherited_percent"] == 100
    before, after = (
        dict(YOLO(tmp_path / f"{name}.pt").model.float().named_parameters())
        for name in ("first", "second")
    )
    for name, values in before.items():
        ours, theirs = values.flatten().sort().values, after[name].flatten().sort().values
        assert torch.allclose(ours, theirs, atol=1e-3), name
    definition = ShortTraining(read(shapes), **options)
    again = definition.estimate("yolov8n", inherit=tmp_path / "first.pt")
    assert 0 < again["inherited_percent"] < 100


@pytest.mark.parametrize("given", ["inherit=parent", "inherit=x.pt", "pretrained=x.pt"])
def test_a_head_that_takes_no_weights_is_refused_before_anything_is_written(
    given, tmp_path, capsys
):
    data = draw_for("semantic", tmp_path / "set")
    folder = tmp_path / "runs"
    assert main(["search", f"data={data}", "task=semantic", given, f"project={folder}"]) == 2
    assert f"{given}: weights are not taken over into the head" in capsys.readouterr().err
    assert not folder.exists()
