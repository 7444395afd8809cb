"""`nas_search` as a user types it, on one search of two trials."""

import io
import sys
import types
from contextlib import redirect_stdout

import pytest
from ultralytics import YOLO

from tests.helpers.fakes import without_pictures
from tests.helpers.parents import checkpoint
from tests.helpers.shapes import draw
from yolo_nas_ext import nas_search
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.python.nas_search import start_of
from yolo_nas_ext.python.result import SearchResult

# Trains nothing, so that a search takes no time.
ESTIMATOR = """
class Count:
    def __init__(self, config, data):
        self.seen = 0

    def estimate(self, architecture, fidelity, report, weights):
        self.seen += 1
        report(1, {"map50": 0.1 * self.seen})
        return {"fitness": 0.25 * self.seen}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A result, what was printed, and what the callbacks were given."""
    folder, seen = tmp_path_factory.mktemp("made"), []
    (folder / "count.py").write_text(ESTIMATOR)
    model = YOLO("yolo11n.yaml")
    model.add_callback("on_trial_start", lambda event: seen.append(("start", event)))
    more = {
        "on_trial_end": [lambda event: seen.append(("end", event))],
        "on_search_end": lambda result: seen.append(("result", result)),
    }
    with redirect_stdout(io.StringIO()) as printed, pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        result = nas_search(
            model,
            callbacks=more,
            data=draw(folder / "data"),
            estimator=f"{folder / 'count.py'}:Count",
            strategy="random",
            max_flops=None,
            imgsz=64,
            trials=2,
            confirm=0,
            project=folder / "runs",
            verbose=False,
        )
    return result, printed.getvalue(), seen


def test_the_result_has_what_was_found(made):
    result, _, _ = made
    first, second = result.study.trials
    assert first.name == "yolo11n" and not result.partial
    assert second.metrics["fitness"] == 0.5
    assert result.front == [result.study.best] == [second]
    assert isinstance(result.best, YOLO) and result.best is result.best
    assert len(result.best.names) == 2
    assert result.verdict and result.folder.name == "search"
    assert (result.folder / "report.html").is_file()


def test_the_best_is_a_checkpoint_where_there_is_one(tmp_path):
    config = types.SimpleNamespace(task="detect")
    job = types.SimpleNamespace(folder=tmp_path, config=config)
    with pytest.raises(NASError, match="there is no best network"):
        _ = SearchResult(job).best
    checkpoint(tmp_path, "best", nc=2)
    assert SearchResult(job).best.ckpt_path == str(tmp_path / "best.pt")


def test_its_repr_says_what_was_found_and_where(made):
    result, _, _ = made
    said = repr(result)
    assert said.startswith("SearchResult(2 trials in ") and said.endswith(f"in {result.folder})")
    assert "parameters" in said


def test_a_quiet_search_prints_nothing(made):
    assert made[1] == ""


def test_callbacks_see_every_trial_start_and_end_and_the_result(made):
    result, _, seen = made
    assert [name for name, _ in seen] == ["start", "end", "start", "end", "result"]
    trials = [event.trial for _, event in seen[:-1]]
    assert [t.number for t in trials] == [0, 0, 1, 1]
    assert [t.state for t in trials] == ["running", "complete"] * 2
    assert seen[1][1].folder == result.folder and seen[1][1].study is result.study
    assert seen[-1][1].study is result.study


def test_a_data_frame_is_of_pandas_or_an_error_says_what_to_do(made, monkeypatch):
    result, _, _ = made
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(NASError, match=r"needs pandas.*pip install pandas, or read .*trials\.csv"):
        result.to_dataframe()
    pandas = types.ModuleType("pandas")
    pandas.read_csv = lambda file: file.read().splitlines()
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    head, *rows = result.to_dataframe()
    assert "fitness" in head.split(",") and len(rows) == 2


def test_a_run_is_gone_on_with_from_its_folder(made, monkeypatch):
    without_pictures(monkeypatch)
    result, _, _ = made
    own = f"{result.folder.parents[1] / 'count.py'}:Count"
    again = nas_search(resume=result.folder, estimator=own, verbose=False)
    assert [t.number for t in again.study.trials] == [0, 1]
    assert repr(again) == repr(result)


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        ({"on_trial_ends": print}, "no such event of a search. Did you mean 'on_trial_end'?"),
        ({"on_trial_end": 3}, "3 cannot be called; give a function"),
        ({"on_train_end": print}, "Allowed: on_trial_start, on_trial_end, on_search_end"),
    ],
)
def test_wrong_callbacks_are_refused(callbacks, message):
    with pytest.raises(NASError) as raised:
        nas_search("yolo11n.pt", callbacks=callbacks)
    assert message in str(raised.value)


def test_where_a_search_starts(tmp_path):
    file = checkpoint(tmp_path, nc=2)
    model = YOLO(file)
    assert (
        start_of(model, {}) == {"model": str(file)} == start_of(str(file), {}) == start_of(file, {})
    )
    assert start_of(model, {"resume": "runs/nas/search"}) == {} == start_of(None, {})
    definition = YOLO("yolo11n-seg.yaml")
    assert start_of(definition, {}) == {"baseline": "yolo11n-seg.yaml", "task": "segment"}
    trained = YOLO(file)
    best = checkpoint(tmp_path / "runs", nc=2)
    trained.overrides["model"] = str(best)  # as a training of the model does
    trained.trainer = types.SimpleNamespace(best=best, last=None)
    assert start_of(trained, {}) == {"model": str(best)}
    with pytest.raises(NASError, match="given twice"):
        start_of(model, {"model": "yolo11s.pt"})
    definition.load(file)
    model.load(checkpoint(tmp_path, "other", nc=2))
    with pytest.raises(NASError, match=r"its weights are in no \.pt file"):
        start_of(model, {})
    with pytest.raises(NASError, match=r"save it by model\.save\('mine\.pt'\)"):
        start_of(definition, {})
