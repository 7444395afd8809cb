import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from sqlalchemy import Engine, event

from yolo_nas_ext.api import search
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.study.storage import recorded_seconds
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

SPACE = ChoiceSpace({"a": (1, 2, 3), "b": ("x", "y"), "odd": ((1, 2), (3, 4)), "fixed": (7,)})


def point(a=1, b="x", odd=(1, 2)):
    return SPACE.point({"a": a, "b": b, "odd": odd, "fixed": 7})


def done(number, fitness, p, **more):
    return Trial(number, p, state="complete", metrics={"fitness": fitness}, seconds=1.5, **more)


def fill(study, *trials):
    for trial in trials:
        study.start(trial)
        study.finish(trial)


def test_what_is_written_is_read_back(tmp_path):
    trials = [
        done(0, 0.5, point(), cost={"flops": 3.0}, fidelity={"epochs": 3}),
        Trial(1, point(2), state="failed", error="nan: x", seconds=0.1),
        done(2, 0.7, None, name="yolov8n"),
    ]
    fill(Study(SPACE, tmp_path / "study.db"), *trials)
    assert list(Study(SPACE, tmp_path / "study.db").trials) == trials


def test_optuna_sees_parameters_values_and_states(tmp_path):
    study = Study(SPACE, tmp_path / "study.db")
    fill(study, done(0, 0.5, point(3, "y")), Trial(1, point(2), state="failed", error="nan: x"))
    theirs = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert (
        theirs.best_value == 0.5 and theirs.best_params["a"] == 3 and theirs.best_params["b"] == "y"
    )
    assert [t.state.name for t in theirs.trials] == ["COMPLETE", "FAIL"]
    assert "fixed" not in theirs.best_params


def test_best_and_front():
    study = Study(SPACE)
    fill(
        study,
        done(0, 0.5, point(1), cost={"flops": 10.0}),
        done(1, 0.6, point(2), cost={"flops": 30.0}),
        done(2, 0.4, point(3), cost={"flops": 20.0}),  # worse and dearer than the first
        done(3, 0.6, point(1, "y"), cost={"flops": 40.0}),
        done(4, 0.9, None, cost={"flops": 5.0}, name="reference"),  # not in the space
    )
    assert study.best.number == 1 and [t.number for t in study.front] == [0, 1]
    with pytest.raises(NASError, match="no trial is complete"):
        _ = Study(SPACE).best


def test_a_running_trial_is_taken_over_under_its_number(tmp_path):
    study = Study(SPACE, tmp_path / "study.db")
    study.start(Trial(0, point()))
    again = Study(SPACE, tmp_path / "study.db")
    assert [t.state for t in again.trials] == ["running"]
    fill(again, done(0, 0.5, point()))
    (trial,) = Study(SPACE, tmp_path / "study.db").trials
    assert trial.state == "complete" and trial.fitness == 0.5


def test_damaged_and_foreign_databases(tmp_path):
    path = tmp_path / "study.db"
    path.write_bytes(b"this is no database, whatever its name says" * 50)
    with pytest.raises(NASError, match=r"study\.db: cannot be read or written"):
        Study(SPACE, path)
    fill(Study(SPACE, tmp_path / "other.db"), done(0, 1.0, point()))
    other = ChoiceSpace({"c": (1, 2)})
    with pytest.raises(NASError, match="other choices than when the run was started"):
        Study(other, tmp_path / "other.db")


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE trial_user_attributes SET value_json = 'not JSON'",
        "UPDATE trial_params SET param_value = 99",
    ],
)
def test_rows_that_nobody_can_read_are_one_clear_line(tmp_path, damage):
    search(SPACE, lambda p: {"fitness": 1.0}, trials=2, project=tmp_path)
    with sqlite3.connect(tmp_path / "study.db") as database:
        database.execute(damage)
    database.close()
    with pytest.raises(NASError, match=r"study\.db: cannot be read") as caught:
        Study(SPACE, tmp_path / "study.db")
    assert "\n" not in str(caught.value) and caught.value.code == 2


def test_its_file_is_named_by_path(tmp_path):  # as in version 0.1
    Study(SPACE, path=tmp_path / "study.db")
    assert (tmp_path / "study.db").is_file()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_database(tmp_path):
    path = tmp_path / "study.db"
    fill(Study(SPACE, path), done(0, 1.0, point()))
    path.chmod(0o400)
    tmp_path.chmod(0o500)
    study = Study(SPACE, path)
    with pytest.raises(NASError, match="cannot be read or written"):
        study.start(Trial(1, point(2)))


def test_a_full_disk_leaves_the_record_intact(tmp_path):
    """SQLite's page limit stands in for a disk without room: the same error, SQLITE_FULL."""
    path = tmp_path / "study.db"
    study = Study(SPACE, path)
    fill(study, done(0, 1.0, point()))
    pages = sqlite3.connect(path).execute("pragma page_count").fetchone()[0]

    def limit(connection):
        connection.exec_driver_sql(f"pragma max_page_count = {pages}")

    big = "x" * 200_000
    study.start(Trial(1, point(2)))
    event.listen(Engine, "begin", limit)
    try:
        with pytest.raises(NASError, match=r"full.*check that the disk has room"):
            study.finish(replace(done(1, 2.0, point(2)), error=big))
    finally:
        event.remove(Engine, "begin", limit)
    again = Study(SPACE, path)
    assert again.trials[0] == done(0, 1.0, point()) and again.trials[1].state == "running"


def test_numbers_agree_with_the_search(tmp_path):
    study = search(SPACE, lambda p: {"fitness": p["a"]}, trials=12, project=tmp_path)
    assert [t.number for t in study.trials] == list(range(12))
    assert len({t.point for t in study.trials}) == 12


def test_a_file_of_an_earlier_version_is_read_and_gone_on_with(tmp_path):
    """It noted repeats, confirming trainings and measurements of all trials in one attribute."""
    path = tmp_path / "study.db"
    with sqlite3.connect(path) as database:
        database.executescript(Path(__file__).with_name("earlier_version.sql").read_text())
    database.close()
    study = Study(SPACE, path)
    first = done(
        0, 0.5, point(), cost={"flops": 3.0}, fidelity={"epochs": 3}, curve={1: 0.2, 2: 0.5}
    )
    failed = Trial(1, point(2), state="failed", error="nan: x", seconds=0.25)
    good = replace(done(2, 0.7, point(3, "y", (3, 4))), seconds=2.0)
    assert list(study.trials) == [first, failed, good, Trial(3, point(1, "y"))]
    assert study.results[0].metrics == {"fitness": 0.5, "trained_fitness": 0.9}
    assert study.results[2].metrics["latency_measured_ms"] == 8.0
    assert study.results[2].fitness == pytest.approx(0.6)
    assert recorded_seconds(path) == 1.5 + 0.25 + 2.0 + 2.0 + 10.0
    assert study.lost() == study.trials[3]
    fill(study, done(3, 0.4, point(1, "y")))
    study.record_repeat(0, [0.3])
    study.record_confirmation(2, {"fitness": 0.8})
    study.record_measurement(0, {"latency_measured_ms": 9.0})
    again = Study(SPACE, path)
    assert again.results == study.results and again.lost() is None
    assert dict(again.repeats) == {2: [0.6, 0.5], 0: [0.3]}
    assert dict(again.confirmed) == {0: {"fitness": 0.9, "seconds": 10.0}, 2: {"fitness": 0.8}}
    assert again.results[0].metrics["latency_measured_ms"] == 9.0


@pytest.mark.parametrize("where", [None, "study.db"])
def test_abandoned_trials_are_run_again_under_their_numbers(tmp_path, where):
    study = Study(SPACE, tmp_path / where if where else None)
    fill(study, done(0, 0.5, point()))
    running = study.start(Trial(1, point(2)))
    assert study.lost() is None
    study.abandon()
    assert study.lost() == running
    fill(study, done(1, 0.6, point(2)))
    assert study.lost() is None and [t.fitness for t in study.trials] == [0.5, 0.6]


def test_what_is_told_twice_is_refused_in_memory_and_in_a_file(tmp_path):
    for study in (Study(SPACE), Study(SPACE, tmp_path / "study.db")):
        study.add([done(0, 0.5, point())])
        with pytest.raises(NASError, match=r"trial 0 is in the record already; .* is 1"):
            study.add([done(0, 0.9, point(2))])
        assert study.best.fitness == 0.5
    with pytest.raises(NASError, match="numbers of a file follow each other; give 1"):
        study.add([done(7, 0.9, point(2))])


@pytest.mark.parametrize(
    ("trial", "said"),
    [
        ({"metrics": {"acc": 1.0}}, "trial 0: fitness is missing, and a complete trial needs"),
        ({"metrics": {"fitness": float("nan")}}, "trial 0: fitness is nan"),
        ({"metrics": {"fitness": "high"}}, "metrics: fitness is 'high', not a number"),
        ({"metrics": 0.5}, "metrics: needs numbers by name, not float"),
        ({"state": "completed"}, "state='completed' .* Did you mean 'complete'"),
        ({"state": "running"}, "state='running' is none of a finished trial"),
        ({"point": {"a": 9, "b": "x", "odd": (1, 2), "fixed": 7}}, "trial 0: choice 'a' is 9"),
        ({"point": {"foo": 9}}, "trial 0: unknown choice 'foo'"),
        ({"point": 3}, "trial 0: 3 is no point"),
    ],
)
def test_what_is_no_finished_trial_is_refused_in_one_line(tmp_path, trial, said):
    good = {"point": point(), "state": "complete", "metrics": {"fitness": 1.0}}
    study = Study(SPACE, tmp_path / "study.db")
    with pytest.raises(NASError, match=said) as failure:
        study.add([Trial(0, **{**good, **trial})])
    assert "\n" not in str(failure.value) and not study.trials


def test_what_is_no_list_of_trials_is_refused():
    trial = done(0, 0.5, point())
    for given in (trial, [trial.metrics], 7):
        with pytest.raises(NASError, match=r"Study.add\(\) takes a list of trials"):
            Study(SPACE).add(given)


def test_numbers_of_numpy_become_plain(tmp_path):
    trial = done(0, np.float32(0.5), dict(point()), curve={1: np.float64(0.25)})
    study = Study(SPACE, tmp_path / "study.db")
    study.add([trial])
    assert type(study.best.metrics["fitness"]) is float
    assert list(Study(SPACE, tmp_path / "study.db").trials) == list(study.trials)


def test_where_all_failed_the_first_error_is_named():
    def broken(point):
        raise KeyError("x")

    study = search(SPACE, broken, trials=3)
    with pytest.raises(NASError, match="no best one; 3 failed, trial 0 with error: KeyError: 'x'"):
        _ = study.best
