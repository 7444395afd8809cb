"""`yolo nas-search estimator=madnas`: the vectorized search as a run."""

import json

import pytest
import yaml

from tests.helpers.shapes import draw
from yolo_nas_ext.config.search import configure
from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.zero_cost.entropy import madnas
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.pipeline import job


def settings(tmp_path, **more):
    return {
        "data": str(draw(tmp_path / "data", train=4, val=2)),
        "project": str(tmp_path / "runs"),
        "estimator": "madnas",
        "space": "tiny",
        "imgsz": 64,
        "trials": 2000,
        "population": 20,
        "max_flops": 4e7,
        "max_memory": 2e5,
        "baseline": "yolov8n",
        **more,
    }


def test_a_run_leaves_its_population_and_can_be_run_again(tmp_path, capsys):
    done = job.search(settings(tmp_path))
    folder = done.folder
    record = json.loads((folder / "inner.json").read_text())
    assert record["counts"]["evaluated"] == 2000 and record["history"]
    trials = done.study.trials
    assert 1 < len(trials) <= 21
    for trial in trials:
        if trial.point is not None:
            cost = costs(trial.network, 2, 64)
            assert cost.flops <= 4e7 and cost.memory <= 2e5
            assert trial.metrics["fitness"] == madnas(trial.network, 64)
            assert trial.cost["params"] == cost.params
    best = read(folder / "best.yaml")
    assert best == done.study.best.network and not (folder / "best.pt").exists()
    assert "evaluated by madnas" in (folder / "best.yaml").read_text()
    assert {f.name for f in folder.iterdir()} >= {"report.html", "trials.csv", "pareto", "study.db"}
    assert "2,000 networks" in capsys.readouterr().out

    (folder / "inner.json").unlink()  # as after a kill
    again = job.search({"resume": str(folder)})
    assert [t.point for t in again.study.trials] == [t.point for t in trials]
    assert json.loads((folder / "inner.json").read_text())["counts"] == record["counts"]


def test_defaults_of_the_vectorized_search():
    inner = configure({"estimator": "madnas"}, {}, {})
    assert inner.trials == 500_000 and inner.population == 512
    other = configure({"estimator": "madnas", "strategy": "random"}, {}, {})
    assert other.trials < 100  # recorded one by one
    assert configure({"estimator": "deepmad", "trials": 7}, {}, {}).trials == 7


def test_other_strategies_record_every_trial(tmp_path):
    done = job.search(
        settings(tmp_path, strategy="random", trials=4, baseline="none", estimator="deepmad")
    )
    assert len(done.study.trials) == 4 and not (done.folder / "inner.json").exists()
    assert yaml.safe_load((done.folder / "args.yaml").read_text())["estimator"] == "deepmad"


def test_screening_any_other_search(tmp_path):
    more = {"strategy": "random", "trials": 3, "baseline": "none", "estimator": "deepmad"}
    done = job.search(settings(tmp_path, **more, screen="madnas+deepmad*2:20"))
    assert len(done.study.complete) == 3
    with pytest.raises(NASError, match="screen=madnas:9: estimator=madnas is searched as a whole"):
        job.search(settings(tmp_path, screen="madnas:9"))


def test_nothing_fits_and_nothing_is_written(tmp_path):
    with pytest.raises(NASError, match="nothing in the space fits max_flops"):
        job.search(settings(tmp_path, max_flops=1e5))
    assert not (tmp_path / "runs").exists()
