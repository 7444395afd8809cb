"""The bar of a notebook, which is asked for in the kernel of one alone."""

import sys
from types import SimpleNamespace

import pytest

from tests.helpers.studies import filled
from yolo_nas_ext.python import bar


class Shown:
    """A bar that keeps what it is told."""

    made = ()

    def __init__(self, **options):
        self.unit, self.n, self.said = options["unit"], options["initial"], ""
        self.total, self.closed = options["total"], False
        Shown.made = [*Shown.made, self]

    def set_postfix_str(self, text, refresh=True):
        self.said = text

    def update(self):
        self.n += 1

    def close(self):
        self.closed = True


@pytest.fixture
def shown(monkeypatch):
    monkeypatch.setattr(Shown, "made", ())
    monkeypatch.setattr("tqdm.auto.tqdm", Shown)
    return lambda: Shown.made


def test_it_follows_the_trials_and_then_the_finals(shown):
    study = filled([0.25, 0.5])
    leaderboard = SimpleNamespace(evaluations=[1])
    finals = SimpleNamespace(leaderboard=lambda: leaderboard, turns=[0] * 3)
    job = SimpleNamespace(study=study, plan=SimpleNamespace(trials=4), finals=None)
    seen = bar.Bar()
    seen.start(job)
    assert (shown()[0].total, shown()[0].n, shown()[0].unit) == (4, 2, "trial")
    seen.begun(job, study.trials[0])
    assert "runs, best fitness 0.5000" in shown()[0].said
    seen.trial(job, study.trials[1])
    assert shown()[0].n == 3 and shown()[0].said == "best fitness 0.5000"
    job.finals = finals
    seen.final(job, SimpleNamespace(name="yolo11n"))
    assert shown()[0].closed and (shown()[1].total, shown()[1].n, shown()[1].said) == (
        3,
        1,
        "yolo11n",
    )
    seen.end(job)
    assert shown()[1].closed


def test_a_real_bar_is_made(capsys):
    study = filled([0.25])
    job = SimpleNamespace(study=study, plan=SimpleNamespace(trials=1), finals=None)
    seen = bar.Bar()
    seen.start(job)
    seen.end(job)
    assert "search" in capsys.readouterr().err


def test_a_notebook_is_told_from_a_script(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not bar.in_notebook()
    kernel = type("ZMQInteractiveShell", (), {})()
    for shell, found in ((None, False), (object(), False), (kernel, True)):
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda s=shell: s))
        assert bar.in_notebook() is found
