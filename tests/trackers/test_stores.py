"""MLflow's file store and TensorBoard's logs, written and read again; `make test-trackers`."""

import warnings

import pytest

from yolo_nas_ext import trackers
from yolo_nas_ext.trackers.base import Entry, Run

WHY = "not installed: it brings some forty packages, so `make test-trackers` installs it apart"


@pytest.fixture
def run(tmp_path):
    for name in ("report.html", "verdict.md"):
        (tmp_path / name).write_text(f"# {name}")
    return Run(project="nas", name="search", parameters={"imgsz": "64"}, folder=tmp_path)


def entry(number, **more):
    about = {"metrics": {"map50_95": 0.5, "params": 1e6}, "curve": {1: 0.25, 2: 0.5}}
    about |= {"parameters": {"p3.width": "8"}, "kind": "trial", "name": f"000{number + 1} nas-a"}
    return Entry(number=number, **{**about, **more})


def go_through(tracker, run):
    """What a search tells, in two sittings."""
    parent = tracker.start(run, "")
    first = tracker.add(entry(0))
    tracker.progress({"best_fitness": 0.5}, 1)
    assert tracker.start(run, parent) == parent
    tracker.add(entry(1, state="failed", error="nan: fitness is nan", metrics={}, curve={}))
    tracker.update(first, {"trained_fitness": 0.75})
    files = [run.folder / "report.html", run.folder / "verdict.md"]
    tracker.end({"map50_95": 0.5}, files, "complete")
    return parent, first


def test_mlflow_has_a_parent_with_children(run, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason=WHY)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow would rather have a database
        parent, first = go_through(trackers.make("mlflow"), run)
        client = mlflow.MlflowClient()
        experiment = client.get_experiment_by_name("nas")
        whole = client.get_run(parent)
        children = client.search_runs(
            [experiment.experiment_id], f"tags.mlflow.parentRunId = '{parent}'"
        )
        curve = client.get_metric_history(first, "curve")
        files = {file.path for file in client.list_artifacts(parent)}
    assert whole.info.status == "FINISHED" and whole.data.params == {"imgsz": "64"}
    assert files == {"report.html", "verdict.md"}
    assert {child.info.status for child in children} == {"FINISHED", "FAILED"}
    child = next(child for child in children if child.info.run_id == first)
    assert child.data.params == {"p3.width": "8"}
    assert child.data.metrics["map50_95"] == 0.5 and child.data.metrics["trained_fitness"] == 0.75
    assert [(m.step, m.value) for m in curve] == [(1, 0.25), (2, 0.5)]
    failed = next(child for child in children if child.info.run_id != first)
    assert failed.data.tags["yolo_nas_ext.error"] == "nan: fitness is nan"


def test_tensorboard_has_a_log_a_trial(run):
    pytest.importorskip("tensorboard", reason=WHY)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        go_through(trackers.make("tensorboard"), run)
    folder = run.folder / "tensorboard"
    assert sorted(p.name for p in folder.iterdir()) == ["search", "trial-0001", "trial-0002"]
    seen = EventAccumulator(str(folder / "trial-0001")).Reload()
    assert [(e.step, e.value) for e in seen.Scalars("curve")] == [(1, 0.25), (2, 0.5)]
    assert {"map50_95", "params", "trained_fitness"} <= {*seen.Tags()["scalars"]}
    whole = EventAccumulator(str(folder / "search")).Reload()
    assert [e.value for e in whole.Scalars("best_fitness")] == [0.5]
