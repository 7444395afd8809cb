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


class Levels(ChoiceSpace):
    """A space in which the width of P5 changes nothing without P5."""

    def active(self, point):
        return [n for n in self.choices if n != "p5.width" or point["levels"] == "3-5"]


def recorded(space, points):
    study = Study(space)
    for number, (point, fitness) in enumerate(points):
        metrics = {"fitness": fitness}
        study.add([Trial(number, space.point(point), state="complete", metrics=metrics)])
    return importances(Findings(study))


@pytest.mark.parametrize(("with_p5", "named"), [(0, False), (1, False), (8, True)])
def test_a_choice_of_a_level_that_networks_do_not_have_is_no_choice(with_p5, named):
    space = Levels({"levels": ("3-4", "3-5"), "p5.width": (8, 16, 24), "a": (0, 1)})
    points = [
        (
            {"levels": "3-5" if i < with_p5 else "3-4", "p5.width": (8, 16, 24)[i % 3], "a": i % 2},
            float(i % 3 if i < with_p5 else i % 2),
        )
        for i in range(24)
    ]
    found = {row.name: row for row in recorded(space, points)}
    assert ("p5.width" in found) == named
    if named:  # on average of those that have it
        assert (found["p5.width"].best, found["p5.width"].fitness) == ("24", 2.0)


def test_choices_that_come_and_go_together_are_one_row():
    space = ChoiceSpace({"a": (0, 1, 2), "b": ("x", "y", "z"), "c": (0, 1)})
    points = [({"a": i % 3, "b": "yzx"[i % 3], "c": i // 3 % 2}, float(i % 3)) for i in range(24)]
    first, *others = recorded(space, points)
    assert (first.name, first.best, first.n) == ("a, b", "2, x", 8)
    assert [row.name for row in others] == ["c"] and first.share > 0.99
