"""Scores of single changes: what is measured, what is inferred, and what a run folder keeps."""

import json

import pytest

from yolo_nas_ext.errors import TrialError
from yolo_nas_ext.host import models
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.pipeline import changes
from yolo_nas_ext.pipeline.changes import ChangeScores
from yolo_nas_ext.space.parent import ParentSpace


@pytest.fixture(scope="module")
def space():
    return ParentSpace(read(*models.definition("yolo11n")), sizes=(64, 96))


@pytest.fixture
def measured(monkeypatch, space):
    """What was measured: the choice and the option of each network, in order."""
    seen = []

    class Counted:
        def __init__(self, training, parent=None):
            pass

        def estimate(self, network):
            point = space.point_of(network)
            (change,) = [(n, v) for n, v in point.items() if v != space.origin[n]]
            seen.append(change)
            if change == ("context", "none"):
                raise TrialError("build", "cannot be")
            return {"fitness": -1.0}

    monkeypatch.setattr(changes, "Carried", Counted)
    return seen


def changed(space, **options):
    return [
        space.canonical({**space.origin, name.replace("__", "."): option})
        for name, option in options.items()
    ]


def test_the_narrowest_is_measured_and_others_are_on_a_parabola(space, measured):
    scores = ChangeScores(space, training=None)
    points = [*changed(space, p4__hidden=32), *changed(space, p4__hidden=48)]
    assert scores(points) == [-1.0, -0.25]  # half of the way
    assert measured == [("p4.hidden", 32)]


def test_what_loses_nothing_at_first_is_not_measured(space, measured):
    points = changed(space, p4__hidden=80, p4__depth=2, imgsz=96, levels="3-4")
    assert ChangeScores(space, training=None)([*points, space.origin]) == [0.0] * 5
    assert not measured


def test_names_are_measured_one_by_one_and_a_failure_is_worst(space, measured):
    points = changed(space, context="sppf") + changed(space, context="none")
    assert ChangeScores(space, training=None)(points) == [-1.0, -float("inf")]
    assert measured == [("context", "sppf"), ("context", "none")]


def test_a_run_folder_keeps_them(space, measured, tmp_path):
    first, again = (ChangeScores(space, training=None) for _ in range(2))
    for scores in (first, again):
        scores.use(tmp_path, None)
        assert scores(changed(space, p4__hidden=48)) == [-0.25]
    assert len(measured) == 1
    assert json.loads((tmp_path / "changes.json").read_text()) == {"p4.hidden=32": -1.0}
    (tmp_path / "changes.json").write_text("damaged")
    assert again(changed(space, p4__hidden=48)) == [-0.25] and len(measured) == 2
