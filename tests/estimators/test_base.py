"""What a search tells an estimator, and one that does not want to know."""

from pathlib import Path

from yolo_nas_ext.estimators.base import Context, hand_over
from yolo_nas_ext.estimators.multi_fidelity import Rungs


class Own:
    """An estimator as the guide shows it."""

    fidelity = {"epochs": 3, "imgsz": 64, "images": 9}  # noqa: RUF012

    def estimate(self, architecture, fidelity=None, report=None, weights=None):
        return {"fitness": 0.5}


class Curious(Own):
    """One that keeps files of its own."""

    context = None

    def use_context(self, context):
        self.context = context


def test_only_who_asks_is_told_where_it_works(tmp_path):
    context = Context(tmp_path, shared=True)
    own, curious = Own(), Curious()
    hand_over(context, own)
    hand_over(context, curious)
    assert curious.context is context and not vars(own)
    assert context.images == tmp_path / "images" and Context().images is None


def test_rungs_tell_their_training():
    training = Curious()
    hand_over(Context(Path("run")), Rungs(training))
    assert training.context == Context(Path("run"))
