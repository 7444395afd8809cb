"""The report of a search that runs: written after trials, and loading itself again."""

from types import SimpleNamespace

import pytest

from tests.helpers.fakes import table
from yolo_nas_ext import report
from yolo_nas_ext.errors import RunError
from yolo_nas_ext.pipeline import live_report, outputs
from yolo_nas_ext.pipeline.live_report import LiveReport


@pytest.fixture
def written(monkeypatch):
    """What was written, and the seconds that each report takes."""
    said, now = [], [0.0]

    def write(job, running):
        said.append(running)
        now[0] += 2.0

    monkeypatch.setattr(outputs, "write_report", write)
    return said, now


def test_it_follows_the_trials_and_leaves_them_most_of_the_time(written):
    said, now = written
    study = table(3)
    job = SimpleNamespace(study=study, plan=SimpleNamespace(trials=9), finals=None)
    watch = LiveReport(lambda: now[0])
    for _ in range(3):
        watch.trial(job, study.trials[0])  # the second and the third come too early
    assert said == ["3 of 9 trials have ended"]
    now[0] += 2.0 / live_report.SHARE
    watch.confirmed(job, study.trials[0])
    assert said[1:] == ["the best are measured again"]
    now[0] += 2.0 / live_report.SHARE
    job.finals = SimpleNamespace(leaderboard=lambda: SimpleNamespace(evaluations=[1]), turns=[1, 2])
    watch.final(job, None)
    assert said[2:] == ["1 of 2 trainings of the final comparison have ended"]


def test_a_full_disk_does_not_end_a_search(monkeypatch):
    def full(job, running):
        raise RunError("no room")

    monkeypatch.setattr(outputs, "write_report", full)
    job = SimpleNamespace(study=table(1), plan=SimpleNamespace(trials=1), finals=None)
    LiveReport().trial(job, job.study.trials[0])


def test_the_page_loads_itself_again_while_the_search_runs(tmp_path):
    study = table(4)
    report.write(study, tmp_path, title="t", settings={}, running="4 of 9 trials have ended")
    running = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert '<meta http-equiv="refresh" content="10">' in running
    assert "The search runs: 4 of 9 trials have ended." in running
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "report.html",
        "trials.csv",
        "trials.jsonl",
    ]
    ended = report.page(study, title="t", settings={})
    assert "refresh" not in ended and "The search runs" not in ended
