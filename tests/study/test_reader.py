"""The trials of a database, against Optuna's own way of reading them."""

import random
import sqlite3

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial

from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.study import reader
from yolo_nas_ext.study.coder import Coder
from yolo_nas_ext.study.reader import Recorded, read
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

OPTIONS = {"a": CategoricalDistribution(("x", 2, None)), "b": FloatDistribution(0.1, 9, log=True)}


def text(trials, trial_id):
    """What is compared, as text, in which NaN equals NaN; the order of parameters counts."""
    return [
        repr(
            (
                getattr(t, trial_id),
                t.number,
                t.state,
                list(t.params.items()),
                sorted(t.user_attrs.items()),
                sorted(t.intermediate_values.items()),
            )
        )
        for t in trials
    ]


def as_optuna_says(storage, study_id):
    return text(storage.get_all_trials(study_id), "_trial_id")


def as_read(rows):
    return text(rows, "trial_id")


def test_reads_what_optuna_reads(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "CHUNK", 7)
    storage = RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
    mine, other = (optuna.create_study(storage=storage)._study_id for _ in range(2))
    rng = random.Random(0)
    states = list(TrialState)
    for i in range(40):  # two studies in turns, trials of every state, some with nothing in them
        state = states[i % len(states)]
        params = {"b": rng.uniform(0.1, 9), "a": rng.choice(("x", 2, None))} if i % 6 else {}
        given = create_trial(
            state=state,
            value=float(i) if state == TrialState.COMPLETE else None,
            params=params if state != TrialState.WAITING else {},
            distributions={n: OPTIONS[n] for n in params} if state != TrialState.WAITING else {},
            user_attrs={"text": "ä", "nested": {"n": [i, None, 0.1]}} if i % 4 else {},
            intermediate_values={
                3: float("nan"),
                1: float("inf"),
                2: -float("inf"),
                7: rng.random(),
            }
            if i % 3
            else {},
        )
        storage.create_new_trial(rng.choice((mine, other)), given)
    for study_id in (mine, other):
        rows = list(read(storage, study_id))
        assert as_read(rows) == as_optuna_says(storage, study_id)
        ids = [row.trial_id for row in rows]
        skip = set(ids[::3])
        left = [row for row in rows[5:] if row.trial_id not in skip]
        assert as_read(read(storage, study_id, ids[4], skip)) == as_read(left)
    assert list(read(storage, 99)) == []


def test_a_study_is_what_optuna_says_of_it(tmp_path):
    """Trials made of Optuna's objects are those that are read, architectures and keys included."""
    space = DetectorSpace.load("tiny")
    study, rng = Study(space, tmp_path / "study.db"), random.Random(0)
    for number in range(12):
        point = space.sample(rng)
        done = Trial(
            number,
            point,
            space.architecture(point),
            {"epochs": 3.0},
            "complete",
            {"fitness": rng.random()},
            {"flops": 1e9},
            2.5,
            curve={1: 0.1, 2: 0.2},
        )
        study.start(done)
        study.finish(done)
    storage = RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
    coder = Coder(space)
    theirs = [
        coder.thaw(
            Recorded(t._trial_id, t.number, t.state, t.params, t.user_attrs, t.intermediate_values)
        )
        for t in storage.get_all_trials(storage.get_study_id_from_name("search"))
    ]
    again = Study(space, tmp_path / "study.db").trials
    assert list(again) == theirs == list(study.trials)
    fresh = DetectorSpace.load("tiny")
    assert [t.network.key for t in again] == [fresh.architecture(t.point).key for t in again]


def test_keys_of_another_version_are_worked_out_anew(tmp_path):
    space = DetectorSpace.load("tiny")
    point = space.sample(random.Random(0))
    study = Study(space, tmp_path / "study.db")
    study.start(Trial(0, point, space.architecture(point)))
    with sqlite3.connect(tmp_path / "study.db") as database:
        database.execute(
            "UPDATE trial_user_attributes SET value_json='\"0123456789\"' WHERE key='key'"
        )
    database.close()
    (trial,) = Study(space, tmp_path / "study.db").trials
    assert trial.network.key == DetectorSpace.load("tiny").architecture(point).key
