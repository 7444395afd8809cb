"""How long a search still takes: jobs share it, and what follows the trials is counted."""

import io
from types import SimpleNamespace

import pytest

from yolo_nas_ext import api
from yolo_nas_ext.pipeline import job
from yolo_nas_ext.pipeline.progress import Progress


def study(*seconds):
    """A record of trials that took so long."""
    trials = [SimpleNamespace(seconds=s, state="complete") for s in seconds]
    return SimpleNamespace(trials=trials)


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({}, "40 s left"),
        ({"at_a_time": 2}, "20 s left"),
        ({"later": 3.0}, "70 s left"),
        ({"at_a_time": 4, "later": 8.0}, "30 s left"),
    ],
)
def test_the_time_left(options, left):
    assert Progress(study(10, 10), 6, 9e9, io.StringIO(), **options).left() == left


def test_hours_end_the_trials_and_not_what_follows():
    watched = Progress(study(10, 10), 600, 40 / 3600, io.StringIO(), later=1.0)
    assert watched.left() == "30 s left"
    assert Progress(study(10, 10), 2, 9e9, io.StringIO(), later=2.0).left() == "20 s left"
    assert Progress(study(10, 10), 2, 9e9, io.StringIO()).left() == ""


def test_ctrl_c_in_python_ends_a_loop_over_data_sets(monkeypatch, tmp_path):
    begun = []

    def search(given):
        begun.append(given["data"])
        return SimpleNamespace(interrupted=True, folder=tmp_path, study=None)

    monkeypatch.setattr(job, "search", search)
    with pytest.raises(KeyboardInterrupt, match="resume="):
        for data in ("a.yaml", "b.yaml"):
            api.search(data=data)
    assert begun == ["a.yaml"]
