"""What trackers are told of a search, and what is kept for its next sitting."""

import json
from types import SimpleNamespace

import pytest

from tests.helpers.studies import filled
from yolo_nas_ext.config.search import configure
from yolo_nas_ext.host import integrations
from yolo_nas_ext.pipeline import tracking
from yolo_nas_ext.pipeline.tracking import FILE, Tracking, chosen, entry_of, read
from yolo_nas_ext.study.leaderboard import Evaluation
from yolo_nas_ext.study.trial import Trial


class Told:
    """A tracker that keeps what it is told; it fails where it is asked to."""

    def __init__(self, fails=""):
        self.said, self.fails, self.runs = [], fails, 0

    def start(self, run, known):
        self._keep("start", known)
        return known or "parent"

    def add(self, entry):
        self._keep("add", entry.name, entry.state)
        self.runs += 1
        return f"run-{entry.kind}-{entry.number}"

    def update(self, known, metrics):
        self._keep("update", known, metrics.get("trained_fitness"))

    def progress(self, metrics, step):
        self._keep("progress", metrics["best_fitness"], step)

    def end(self, metrics, files, state):
        self._keep("end", [file.name for file in files], state)

    def _keep(self, *what):
        if what[0] == self.fails:
            raise ConnectionError("no such server")
        self.said.append(what)


def job(folder, values=(), **more):
    study = filled(values)
    config = configure({"project": "runs/nas"}, {}, {})
    best = study.complete[0] if study.complete else None
    about = {"finals": None, "interrupted": False, "best": best, **more}
    return SimpleNamespace(folder=folder, study=study, config=config, **about)


def test_a_search_from_beginning_to_end(tmp_path):
    told, here = Told(), job(tmp_path, [0.25, None])
    (tmp_path / "report.html").touch()
    (tmp_path / "pareto").mkdir()
    (tmp_path / "pareto" / "nas-a.yaml").touch()
    watch = Tracking([("mlflow", told)])
    here.study, both = filled([]), here.study
    watch.start(here)
    here.study = both
    for trial in both.trials:
        watch.trial(here, trial)
    both.record_confirmation(0, {"fitness": 0.5})
    watch.confirmed(here, both.results[0])
    watch.end(here)
    assert told.said == [
        ("start", ""),
        ("add", "0001 trial 1", "complete"),
        ("progress", 0.25, 2),
        ("add", "0002 trial 2", "failed"),
        ("progress", 0.25, 2),
        ("update", "run-trial-0", 0.5),
        ("end", ["report.html", "nas-a.yaml"], "complete"),
    ]
    kept = json.loads((tmp_path / FILE).read_text())["mlflow"]
    assert kept == {
        "run": "parent",
        "runs": {"0": "run-trial-0", "1": "run-trial-1"},
        "again": ["0"],
    }


def test_a_resumed_search_adds_what_is_missing_and_nothing_twice(tmp_path):
    first, here = Told(), job(tmp_path, [0.25])
    Tracking([("mlflow", first)]).start(here)
    here = job(tmp_path, [0.25, 0.5])  # killed after it had recorded the second
    here.study.record_confirmation(0, {"fitness": 0.75})
    again = Told()
    Tracking([("mlflow", again)]).start(here)
    assert again.said == [
        ("start", "parent"),
        ("add", "0002 trial 2", "complete"),
        ("update", "run-trial-0", 0.75),
    ]
    third = Told()
    Tracking([("mlflow", third)]).start(here)
    assert third.said == [("start", "parent")]


def test_final_trainings_are_runs(tmp_path):
    told, here = Told(), job(tmp_path)
    trained = Evaluation("yolo11n", 1, 0.5, 9.0, "", {"map50": 0.6})
    failed = Evaluation("nas-a", 1, float("nan"), 9.0, "nan: fitness is nan", {})
    models = [SimpleNamespace(name=name) for name in ("yolo11n", "nas-a")]
    board = SimpleNamespace(evaluations=[trained, failed])
    here.finals = SimpleNamespace(models=models, leaderboard=lambda: board)
    watch = Tracking([("wandb", told)])
    watch.start(here)
    watch.final(here, trained)
    watch.end(here)  # by which the other is recorded, too
    added = [what[1:] for what in told.said if what[0] == "add"]
    assert added == [("final yolo11n seed 1", "complete"), ("final nas-a seed 1", "failed")]


@pytest.mark.parametrize("fails", ["start", "add", "progress", "end"])
def test_a_tracker_that_fails_is_left_alone_and_the_others_go_on(tmp_path, capsys, fails):
    bad, good, here = Told(fails), Told(), job(tmp_path, [0.25])
    watch = Tracking([("comet", bad), ("wandb", good)])
    here.study, both = filled([]), here.study
    watch.start(here)
    here.study = both
    watch.trial(here, both.trials[0])
    watch.end(here)
    assert [what[0] for what in good.said] == ["start", "add", "progress", "end"]
    (said,) = capsys.readouterr().out.splitlines()
    assert said.startswith("warning: tracker=comet failed") and "no such server" in said
    assert "resume= adds what is missing" in said


@pytest.mark.parametrize(
    "content",
    ["", "[" * 100_000, "[]", '{"mlflow": 3}', '{"mlflow": {"run": "a"}}']
    + [json.dumps({"mlflow": {"run": run, "runs": {}, "again": []}}) for run in ("../a", "a/b", 3)],
)
def test_ids_that_are_damaged_are_begun_anew(tmp_path, content):
    (tmp_path / FILE).write_text(content)
    assert read(tmp_path) == {}


def test_ids_that_are_paths_are_left_out(tmp_path):
    content = {"run": "a", "runs": {"0": "../../b", "1": "c"}, "again": []}
    (tmp_path / FILE).write_text(json.dumps({"tensorboard": content}))
    assert read(tmp_path)["tensorboard"].runs == {"1": "c"}


def test_an_entry_has_choices_metrics_and_costs():
    space = filled([]).space
    trial = Trial(
        4,
        space.point({"a": 7}),
        state="complete",
        metrics={"fitness": 0.5, "loss": float("nan")},
        cost={"params": 1e6},
        fidelity={"epochs": 6},
        seconds=9.0,
        curve={1: 0.25},
    )
    found = entry_of(trial)
    assert found.parameters == {"network": "trial 5", "fidelity.epochs": "6", "a": "7"}
    assert found.metrics == {"fitness": 0.5, "params": 1e6, "seconds": 9.0}
    assert found.curve == {1: 0.25}


def test_auto_takes_what_is_installed_and_turned_on(monkeypatch):
    monkeypatch.setattr(integrations, "SETTINGS", {"mlflow": True, "wandb": True, "comet": False})
    monkeypatch.setattr(tracking.trackers, "installed", lambda name: name != "wandb")
    monkeypatch.setattr(tracking.trackers, "make", lambda name: name)
    auto = configure({}, {}, {})
    assert chosen(auto) == []  # within a test, as Ultralytics' own integrations
    monkeypatch.setattr(integrations, "TESTS_RUNNING", False)
    assert chosen(auto) == [("mlflow", "mlflow")]
    assert chosen(configure({"tracker": "auto,mlflow,comet"}, {}, {})) == [
        ("mlflow", "mlflow"),
        ("comet", "comet"),
    ]
    assert chosen(configure({"tracker": "none"}, {}, {})) == []
