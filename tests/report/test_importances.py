"""Importances against a function whose variance is known."""

import random

import pytest

from tests.helpers import fakes
from yolo_nas_ext.report import page
from yolo_nas_ext.report.importances import LEAST, importance_section, importances
from yolo_nas_ext.report.summary import Findings
from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial


def additive(n, weights):
    """Fitness is a sum over choices of three options: a share is a squared weight's."""
    space = ChoiceSpace({name: (0, 1, 2) for name in weights} | {"fixed": (7,)})
    study, rng = Study(space), random.Random(0)
    for number in range(n):
        point = space.sample(rng)
        fitness = sum(weight * point[name] for name, weight in weights.items())
        study.add([Trial(number, point, state="complete", metrics={"fitness": fitness})])
    return study


def test_shares_are_those_of_the_variance():
    ranked = importances(Findings(additive(81, {"much": 3.0, "some": 1.0, "none": 0.0})))
    assert [found.name for found in ranked] == ["much", "some", "none"]
    assert sum(found.share for found in ranked) == pytest.approx(1)
    assert ranked[0].share == pytest.approx(0.9, abs=0.03) and ranked[2].share < 0.01
    assert ranked[0].best == "2" and ranked[0].n > 10


def test_the_page_names_them_and_few_candidates_say_nothing():
    study = additive(30, {"<much>": 3.0, "some": 1.0})
    html = page(study, title="A search", settings={})
    html = html[html.index("Which choices mattered") : html.index("All trials")]
    assert html.index("&lt;much&gt;") < html.index("some") and "among 30 candidates" in html
    assert importance_section(Findings(additive(LEAST - 1, {"a": 1.0, "b": 1.0}))) is None
    assert importances(Findings(additive(30, {"a": 0.0}))) == []  # all equally good
    assert importances(Findings(fakes.detectors(3))) == []


def test_a_large_record_is_looked_at_in_part(monkeypatch):
    monkeypatch.setattr("yolo_nas_ext.report.importances.MOST", 40)
    assert importances(Findings(additive(120, {"a": 2.0, "b": 1.0})))[0].name == "a"
