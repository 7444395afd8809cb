"""Keys of `yolo nas-search` together, by estimators that cost next to nothing."""

import csv
import io
from dataclasses import replace

import pytest

from tests.helpers.fakes import without_pictures
from tests.helpers.shapes import draw
from yolo_nas_ext.cli import main
from yolo_nas_ext.estimators.multi_fidelity import Rungs
from yolo_nas_ext.pipeline import job, plan
from yolo_nas_ext.study.study import Study


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    without_pictures(monkeypatch)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("shapes"), train=8, val=2)


def command(data, tmp_path, *keys):
    """Run the command on the space tiny at 64 px, without baselines unless they are given."""
    fixed = {"data": data, "project": tmp_path / "runs", "imgsz": 64, "baseline": "none"}
    given = {key.partition("=")[0] for key in keys}
    return main(["search", *(f"{n}={v}" for n, v in fixed.items() if n not in given), *keys])


def rows(folder):
    return list(csv.DictReader(io.StringIO((folder / "trials.csv").read_text(encoding="utf-8"))))


@pytest.mark.slow
def test_workers_objectives_limits_and_a_control(data, tmp_path, capsys):
    keys = (
        "estimator=naswot",
        "batch=2",
        "trials=6",
        "jobs=2",
        "objectives=fitness,flops_g",
        "limits=params_m:1.5",
        "control=random",
        "strategy=nsga2",
    )
    assert command(data, tmp_path, *keys) == 0
    out = capsys.readouterr().out
    folder = tmp_path / "runs" / "search"
    assert "control: the best of" in out or "control: there is no complete trial" in out
    found = rows(folder)
    assert len(found) == 6 == len({row["key"] for row in found})
    front = {f.stem.removeprefix("nas-") for f in (folder / "pareto").glob("nas-*.yaml")}
    assert front <= {row["key"] for row in found if float(row["params"]) <= 1.5e6}
    html = (folder / "report.html").read_text()
    assert ("Hypervolume after each trial" in html) == bool(front)
    assert out.split("control: ")[1].splitlines()[0] in html


def test_a_shared_record_with_a_screen_and_two_runs(data, tmp_path, capsys):
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    keys = ("estimator=naswot", "batch=2", f"storage={url}", "screen=madnas:20", "confirm=0")
    assert command(data, tmp_path, *keys, "trials=4", "strategy=random") == 0
    assert command(data, tmp_path, *keys, "trials=6", "strategy=random") == 0
    assert len(rows(tmp_path / "runs" / "search")) == 4
    second = rows(tmp_path / "runs" / "search2")
    assert len(second) == 6 == len({row["key"] for row in second})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
def test_ray_with_a_limit(data, tmp_path, capsys):
    pytest.importorskip("ray", reason="Ray is an extra: pip install 'yolo-nas-ext[ray]'")
    keys = (
        "estimator=deepmad",
        "strategy=evolution",
        "executor=ray",
        "jobs=2",
        "trials=4",
        "limits=flops_g:0.05",
        "confirm=0",
    )
    assert command(data, tmp_path, *keys) == 0
    assert len(rows(tmp_path / "runs" / "search")) == 4


class Sized:
    """Stands for a training: the larger network is the better one at every epoch."""

    seed = 0
    fidelity = {"epochs": 9, "imgsz": 64, "images": 6}  # noqa: RUF012

    def estimate(self, architecture, fidelity=None, weights=None, inherit=None):
        epochs = int(fidelity["epochs"]) + (int(inherit.read_text()) if inherit else 0)
        if weights:
            weights.parent.mkdir(parents=True, exist_ok=True)
            weights.write_text(str(epochs))
        width = sum(len(str(part)) for part in architecture.to_dict().values())
        return {"fitness": width * (1 + epochs / 100) / 1000, "epochs_in_all": float(epochs)}


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_rungs_promote_few_and_keep_the_best(data, tmp_path, monkeypatch, jobs):
    monkeypatch.setattr(plan, "make_estimator", lambda config, data: Rungs(Sized()))
    given = {
        "data": str(data),
        "project": str(tmp_path),
        "imgsz": 64,
        "baseline": "yolov8n",
        "fidelity": "asha",
        "trials": 14,
        "jobs": jobs,
        "strategy": "random",
        "confirm": 1,
    }
    study = job.search(given).study
    states = [t.state for t in study.trials]
    assert states.count("pruned") >= 5 and study.trials[0].state == "complete"
    assert set(states) == {"pruned", "complete"}
    for trial in study.trials:
        assert list(trial.curve) in ([1], [1, 3])
        if trial.state == "complete":
            assert trial.metrics["epochs_in_all"] == 9  # each rung went on from the one before
    assert max(max(t.curve.values()) for t in study.trials if not t.name) == max(
        max(t.curve.values()) for t in study.complete if not t.name
    )
    assert [f.suffix for f in (tmp_path / "search" / "weights").iterdir()] == [".pt"]


def test_a_resumed_search_over_rungs_is_the_same(data, tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "make_estimator", lambda config, data: Rungs(Sized()))
    given = {
        "data": str(data),
        "imgsz": 64,
        "baseline": "none",
        "fidelity": "asha",
        "strategy": "evolution",
        "confirm": 0,
    }
    whole = job.search({**given, "project": str(tmp_path / "a"), "trials": 12}).study
    job.search({**given, "project": str(tmp_path / "b"), "trials": 5})
    resumed = job.search({"resume": str(tmp_path / "b" / "search"), "trials": 12}).study
    assert [replace(t, seconds=0) for t in resumed.trials] == [
        replace(t, seconds=0) for t in whole.trials
    ]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("fidelity=asha pruner=median", "pruner=median: fidelity=asha decides"),
        ("fidelity=asha estimator=naswot", "fidelity=asha: estimator=naswot does not train"),
        ("fidelity=hyperband", "no such fidelity 'hyperband'"),
        ("inherit=parent jobs=2", "inherit=parent: parents are looked up in this process"),
        ("inherit=parent storage=sqlite:///x.db", "inherit=parent: parents are looked up"),
        ("control=random storage=sqlite:///x.db", "control=random: not with storage"),
        ("control=randon", "control=randon: no such strategy. Did you mean 'random'"),
        ("executor=slurm", "executor=slurm: no such executor"),
        ("objectives=fitness,fitness", "objectives=fitness,fitness: give different"),
        ("objectives=fitness,latency_ms", "objectives=fitness,latency_ms: nothing measures"),
        ("limits=map50:0.3 estimator=naswot", "limits=map50:0.3: nothing measures"),
        ("strategy=optuna:tpr", "strategy=optuna:tpr"),
        ("strategy=optuna:cmaes objectives=fitness,flops_g", "optuna:cmaes"),
        ("screen=madnas:9 estimator=madnas", "screen=madnas:9: estimator=madnas is searched"),
        ("screen=madnos:9", "no such score 'madnos'"),
        ("storage=nonsense", "storage=nonsense: cannot be used, as it is no URL"),
    ],
)
def test_bad_combinations_are_refused_in_one_line(data, tmp_path, capsys, monkeypatch, keys, said):
    monkeypatch.chdir(tmp_path)
    assert command(data, tmp_path, *keys.split()) == 2
    error = capsys.readouterr().err.strip()
    assert said in error and "\n" not in error
    assert not (tmp_path / "runs").exists()


def test_analytic_scores_with_other_keys_take_the_usual_loop(data, tmp_path):
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    keys = ("estimator=madnas", "trials=5", f"storage={url}", "objectives=fitness,flops_g")
    assert command(data, tmp_path, *keys) == 0
    folder = tmp_path / "runs" / "search"
    assert len(rows(folder)) == 5 and not (folder / "inner.json").exists()
    space = job.search({"resume": str(folder)}).study.space
    assert len(Study(space, url).trials) == 5
