"""Trackers that need an account, on stand-ins for their clients."""

import sys
from pathlib import Path

import pytest

from tests.helpers import clients
from yolo_nas_ext import trackers
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.trackers.base import Entry, Run

CLIENTS = {
    "wandb": ("wandb", clients.wandb),
    "clearml": ("clearml", clients.clearml),
    "comet": ("comet_ml", clients.comet),
}


@pytest.fixture
def made(request, monkeypatch, tmp_path):
    """A tracker, and the calls of its client."""
    calls = []
    module, make = CLIENTS[request.param]
    monkeypatch.setitem(sys.modules, module, make(calls))
    run = Run(project="runs/nas", name="search", parameters={"imgsz": "64"}, folder=tmp_path)
    return trackers.make(request.param), run, calls


def entry(**more):
    about = {"metrics": {"map50_95": 0.5}, "curve": {1: 0.25}, "parameters": {"width": "8"}}
    return Entry(**{"name": "0002 nas-a", "kind": "trial", "number": 1, **about, **more})


def names(calls):
    return [name for name, _, _ in calls]


@pytest.mark.parametrize("made", CLIENTS, indirect=True)
def test_a_search_is_a_parent_with_a_child_a_trial(made, tmp_path):
    tracker, run, calls = made
    parent = tracker.start(run, "")
    child = tracker.add(entry())
    failed = tracker.add(entry(state="failed", error="nan: fitness is nan", metrics={}, curve={}))
    assert len({parent, child, failed}) == 3
    said = str(calls)
    assert "'width': '8'" in said or "'Choices/width': '8'" in said
    assert "0.5" in said and "0.25" in said and "nan: fitness is nan" in said
    begun = len(calls)
    tracker.progress({"best_fitness": 0.5}, 2)
    assert all(name.startswith(parent) for name in names(calls[begun:]))
    tracker.end({"map50_95": 0.5}, [tmp_path / "report.html"], "complete")
    assert "report.html" in str(calls[-4:])


@pytest.mark.parametrize(
    ("made", "begun"),
    [
        ("wandb", ("wandb.init", "group", "search")),
        ("clearml", ("task0.connect", "name", "Search")),
        ("comet", ("comet_ml.Experiment", "project_name", "runs/nas")),
    ],
    indirect=["made"],
)
def test_how_a_search_begins(made, begun):
    tracker, run, calls = made
    tracker.start(run, "")
    call, name, value = begun
    assert any(n == call and more.get(name) == value for n, _, more in calls)


@pytest.mark.parametrize(
    ("made", "gone_on"),
    [
        ("wandb", ("wandb.init", {"id": "known", "resume": "allow"})),
        ("clearml", ("Task.init", {"continue_last_task": "known"})),
        ("comet", ("comet_ml.ExistingExperiment", {"previous_experiment": "known"})),
    ],
    indirect=["made"],
)
def test_a_known_run_is_gone_on_with(made, gone_on):
    tracker, run, calls = made
    tracker.start(run, "known")
    call, more = gone_on
    assert calls[0][0] == call and more.items() <= calls[0][2].items()
    tracker.update("child", {"trained_fitness": 0.75})
    assert "child" in str(calls) and "0.75" in str(calls)


@pytest.mark.parametrize("name", trackers.TRACKERS)
def test_one_that_is_not_installed_is_a_line(name, monkeypatch):
    module = trackers.TRACKERS[name][1]
    monkeypatch.setitem(sys.modules, module, None)
    assert not trackers.installed(name)
    with pytest.raises(NASError, match=f"tracker={name}: {module} cannot be loaded.*pip install"):
        trackers.make(name)


def test_what_is_installed_is_known_without_loading_it(monkeypatch, tmp_path):
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "__init__.py").write_text("raise RuntimeError\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    assert trackers.installed("wandb") and Path(trackers.__file__).is_file()
