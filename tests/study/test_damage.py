"""A record that was damaged: one line that names the file and the trial, and no traceback."""

import json
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.helpers.fakes import cost_of
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.study.measure import Measure
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

SPACE = ChoiceSpace({"a": (0, 1, 2)})
METRICS = {"fitness": 0.5, "latency_ms": 3.0}


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory):
    path = tmp_path_factory.mktemp("record") / "study.db"
    study = Study(SPACE, path)
    for n in range(2):
        point = SPACE.point({"a": n})
        study.start(Trial(n, point))
        study.finish(Trial(n, point, state="complete", metrics=METRICS, curve={1: 0.1}))
    study.record_repeat(1, [{"fitness": 0.4}])
    study.record_confirmation(1, {"fitness": 0.4})
    study.record_measurement(1, {"latency_measured_ms": 2.0})
    return path


@pytest.fixture
def record(undamaged, tmp_path):
    return Path(shutil.copy(undamaged, tmp_path))


def change(path, statement, *values):
    connection = sqlite3.connect(path)
    assert connection.execute(statement, values).rowcount == 1
    connection.commit()
    connection.close()


def refused(path, space=SPACE):
    with pytest.raises(NASError) as failure:
        Study(space, path)
    text = str(failure.value)
    assert "study.db" in text and "trial 2" in text and "\n" not in text
    return text


def test_an_error_is_one_line_whoever_wrote_it(record):
    statement = "update trial_user_attributes set value_json=? where key='error' and trial_id=2"
    change(record, statement, json.dumps("nan\n\nnext:\r\n  rm"))
    assert Study(SPACE, record).trials[1].error == "nan next: rm"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("metrics", {"fitness": "high"}),
        ("metrics", {"fitness": [0.5]}),
        ("metrics", {"fitness": None}),
        ("metrics", {"fitness": True}),
        ("metrics", {"fitness": 0.5, "map50": {}}),
        ("metrics", [0.5]),
        ("metrics", "high"),
        ("metrics", None),
        ("cost", {"flops": "many"}),
        ("cost", 3),
        ("fidelity", {"epochs": "two"}),
        ("fidelity", []),
        ("seconds", "long"),
        ("seconds", None),
        ("error", 5),
        ("error", None),
        ("name", ["a"]),
        ("in_space", "yes"),
    ],
)
def test_an_attribute_of_another_type(record, key, value):
    change(
        record,
        "UPDATE trial_user_attributes SET value_json = ? WHERE key = ? AND trial_id = 2",
        json.dumps(value),
        key,
    )
    assert key in refused(record)


@pytest.mark.parametrize("text", ["{", "", "nonsense", "\x00"])
def test_an_attribute_that_is_no_json(record, text):
    statement = "UPDATE trial_user_attributes SET value_json = ? WHERE key = ? AND trial_id = 2"
    change(record, statement, text, "metrics")
    refused(record)


@pytest.mark.parametrize(
    ("statement", "value"),
    [
        ("UPDATE trials SET state = ? WHERE trial_id = 2", "DONE"),
        ("UPDATE trial_params SET param_value = ? WHERE trial_id = 2", 17.0),
        ("UPDATE trial_params SET param_value = ? WHERE trial_id = 2", "much"),
        ("UPDATE trial_params SET distribution_json = ? WHERE trial_id = 2", "{}"),
        ("UPDATE trial_params SET param_name = ? WHERE trial_id = 2", "other"),
        ("UPDATE trial_intermediate_values SET intermediate_value = ? WHERE trial_id = 2", "x"),
        ("DELETE FROM trial_user_attributes WHERE key = ? AND trial_id = 2", "metrics"),
    ],
)
def test_a_row_that_nobody_wrote(record, statement, value):
    change(record, statement, value)
    refused(record)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("repeat/1", ["high"]),
        ("repeat/1", "high"),
        ("repeat/1", [{"fitness": None}]),
        ("repeat/1", [{"map50": 0.5}]),
        ("confirm/1", {"fitness": "high"}),
        ("confirm/1", [0.5]),
        ("measure/1/", {"latency_measured_ms": []}),
    ],
)
def test_what_is_noted_of_a_trial(record, key, value):
    statement = "UPDATE study_user_attributes SET value_json = ? WHERE key = ?"
    change(record, statement, json.dumps(value), key)
    refused(record)


@pytest.mark.parametrize("value", ["a text", {"name": 5}, {"other": "x"}, [], None])
def test_a_damaged_name_of_the_measure_is_the_usual_one(tmp_path, value):
    path = tmp_path / "study.db"
    Study(SPACE, path, measure=Measure("mAP50-95"))
    statement = "UPDATE study_user_attributes SET value_json = ? WHERE key = ?"
    change(path, statement, json.dumps(value), "fitness_is")
    assert Study(SPACE, path).measure == Measure()


@pytest.mark.parametrize("value", ["x", {}, {"backbone": 3}, {"neck": [], "head": []}])
def test_a_damaged_network(tmp_path, value):
    space, path = DetectorSpace.load("tiny"), tmp_path / "study.db"
    study = Study(space, path)
    for n in range(2):
        point = space.sample(random.Random(n))
        network = space.architecture(point)
        study.add([Trial(n, point, network, state="failed", error="x: y", cost=cost_of(network))])
    statement = "UPDATE trial_user_attributes SET value_json = ? WHERE key = ? AND trial_id = 2"
    change(path, statement, json.dumps(value), "architecture")
    if value:
        refused(path, space)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("key", "x/../../../PWN"),
        ("key", "/PWN"),
        ("key", "0123456789\nactivation: x"),
        ("key", ["0123456789"]),
        ("name", "yolo11n\nactivation: x"),
        ("name", "yolo\x1b[31m11n"),
        ("metrics", {"fitness": 0.5, "a\nb": 1.0}),
    ],
)
def test_keys_become_files_and_names_lines(record, key, value):
    """Each was another's file or line: outside of the run folder, or in a model definition."""
    connection = sqlite3.connect(record)
    trial = connection.execute("select trial_id from trials where number = 1").fetchone()[0]
    connection.execute(
        "delete from trial_user_attributes where trial_id = ? and key = ?", (trial, key)
    )
    connection.execute(
        "insert into trial_user_attributes (trial_id, key, value_json) values (?, ?, ?)",
        (trial, key, json.dumps(value)),
    )
    connection.commit()
    connection.close()
    refused(record)


@pytest.mark.parametrize("place", ["backbone", "neck"])
def test_the_names_in_a_network_are_words(tmp_path, place):
    space = DetectorSpace.load("tiny")
    path = tmp_path / "study.db"
    study = Study(space, path)
    for n in range(2):
        point = space.sample(random.Random(n))
        network = space.architecture(point)
        study.start(Trial(n, point, network))
        study.finish(
            Trial(n, point, network, state="complete", metrics=METRICS, cost=cost_of(network))
        )
    described = network.to_dict()
    if place == "backbone":
        described["backbone"][0]["kind"] = "conv\nactivation: x"
    else:
        described["neck"]["kind"] = "pan]\n- x"
    connection = sqlite3.connect(path)
    trial = connection.execute("select trial_id from trials where number = 1").fetchone()[0]
    connection.execute(
        "update trial_user_attributes set value_json = ? where trial_id = ? and key = ?",
        (json.dumps(described), trial, "architecture"),
    )
    connection.commit()
    connection.close()
    assert "architecture" in refused(path, space)
