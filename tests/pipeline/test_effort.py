"""What fits into the hours, by an invented pace; one test times a real training."""

import math

import pytest

from tests.helpers.networks import SMALL
from tests.helpers.shapes import draw
from yolo_nas_ext.config.search import EFFORTS, SearchSettings, configure
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.estimators.training import ShortTraining
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.pipeline import effort
from yolo_nas_ext.pipeline.effort import Pace
from yolo_nas_ext.space.detector import DetectorSpace


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return read(draw(tmp_path_factory.mktemp("shapes"), train=16))


def planned(data, seconds, start=0.0, **given):
    """The settings, and what is said of them, at so many seconds an image."""
    config = configure({"imgsz": 64, "baseline": "none", **given}, {}, {})
    pace = Pace(seconds, start, "mine")
    return effort.fit(config, data, None, [], lambda *_, **__: pace)


def trial_seconds(config, seconds):
    return seconds * (config.epochs * 12 + 4 / 3)  # of 16 images 4 are held out


@pytest.mark.parametrize(
    ("seconds", "chosen"), [(0.01, "thorough"), (1.0, "normal"), (5.0, "quick")]
)
def test_the_largest_effort_that_fits_is_taken(data, seconds, chosen):
    config, (said,) = planned(data, seconds, budget_hours=0.5)
    assert config.effort == chosen and f"effort={chosen} with {config.trials} trials" in said
    assert said.startswith("budget_hours=0.5 is planned as")
    # The trials end within what is left for them, and one more would not have fitted.
    assert config.trials * trial_seconds(config, seconds) <= 3600 * config.budget_hours + 1
    assert (config.trials + 1) * trial_seconds(config, seconds) > 3600 * config.budget_hours
    assert config.budget_hours <= 0.5


def test_the_effort_that_is_given_stays(data):
    config, _ = planned(data, 0.01, budget_hours=0.5, effort="quick")
    assert config.epochs == EFFORTS["quick"][0]["epochs"] and config.trials > 100


def test_the_final_comparison_is_within_the_hours(data):
    without, _ = planned(data, 0.05, budget_hours=2, effort="normal")
    held, (said,) = planned(data, 0.05, budget_hours=2, effort="normal", finalists=2)
    final = 0.05 * (100 * 16 + 4 / 3)
    assert without.budget_hours - held.budget_hours == pytest.approx(6 * final / 3600, rel=1e-3)
    assert held.trials < without.trials and "then confirmation and final comparison" in said


def test_too_few_hours_are_said(data):
    config, (said,) = planned(data, 100.0, budget_hours=0.1)
    assert config.trials == effort.LEAST and config.effort == "quick"
    assert said.startswith("budget_hours=0.1 is too short; the least is effort=quick with 4 trials")


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"budget_hours": 1, "trials": 5},
        {"budget_hours": 1, "epochs": 2},
        {"budget_hours": 1, "estimator": "resolved"},
        {"budget_hours": 1, "fidelity": "asha"},
        {"budget_hours": 1, "storage": "sqlite:///a.db"},
        {"budget_hours": 1, "resume": "runs/nas/search"},
    ],
)
def test_nothing_is_planned_where_something_else_is_asked(data, given):
    config = configure(given, {}, {})
    assert effort.fit(config, data, None, [], lambda *_, **__: 1 / 0) == (config, [])


def test_efforts_set_what_is_not_given():
    quick = configure({"effort": "quick", "epochs": 5}, {}, {})
    assert (quick.trials, quick.epochs) == (EFFORTS["quick"][0]["trials"], 5)
    thorough = configure({"effort": "thorough", "model": "a.pt"}, {}, {})
    assert all(getattr(thorough, n) == v for n, v in EFFORTS["thorough"][1].items())
    normal = configure({"effort": "normal"}, {}, {})
    assert normal.trials == SearchSettings().trials
    shared = configure({"effort": "thorough", "storage": "sqlite:///a.db"}, {}, {})
    assert shared.finalists == 0  # whose processes end one by one


def test_a_real_training_is_timed(data, capsys):
    space = DetectorSpace.load("tiny", "detect", {**SMALL})
    import random

    network = space.architecture(space.sample(random.Random(0)))
    training = ShortTraining(data, epochs=1, imgsz=64, batch=2)
    before = training.split
    pace = effort.timed(training, network, "mine", batch=2)
    assert 0 < pace.image < math.inf and pace.start >= 0 and training.split is before
    assert "timing some steps of mine" in capsys.readouterr().out


def test_a_network_that_cannot_be_timed_is_said(data, monkeypatch):
    def fails(self, *_):
        raise TrialError("memory", "too large")

    monkeypatch.setattr(ShortTraining, "estimate", fails)
    with pytest.raises(NASError, match=r"budget_hours: mine cannot be trained.*memory: too large"):
        effort.timed(ShortTraining(data, epochs=1, imgsz=64), "yolo11n", "mine", batch=2)
