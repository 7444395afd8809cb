"""The end of a search: finalists against baselines on val, and what follows from it."""

import random
import shutil
import time

import pytest
import torch
import yaml

from tests.helpers.fakes import without_pictures
from tests.helpers.kills import killed_and_resumed
from tests.helpers.version_before import recorded, restored
from yolo_nas_ext import run_dir
from yolo_nas_ext.cli import main
from yolo_nas_ext.compare import latency
from yolo_nas_ext.data.builtin.cells import ensure_cells
from yolo_nas_ext.errors import TrialError
from yolo_nas_ext.estimators.training import UntouchedTraining
from yolo_nas_ext.host import dataset
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.pipeline import final_comparison, job, outputs, plan
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

FINALS = ["finalists=2", "final_epochs=1", "final_batch=8", "seeds=2"]


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    return ensure_cells(tmp_path_factory.mktemp("cells"), train=24, val=8, size=64) / "data.yaml"


# Who takes part


def record(*trials, network=None):
    """A study of (fitness, FLOPs, name) in the space `tiny`, of one network if it is given."""
    space, rng = DetectorSpace.load("tiny"), random.Random(0)
    study = Study(space)
    for number, (fitness, flops, name) in enumerate(trials):
        point = space.sample(rng)
        study.add(
            [
                Trial(
                    number,
                    point,
                    network or space.architecture(point),
                    name=name,
                    state="complete",
                    metrics={"fitness": fitness},
                    cost={"flops": flops, "params": 1.0},
                )
            ]
        )
    return study


def numbers(study, most=9):
    return [trial.number for trial in final_comparison.chosen(study, most)]


def test_there_is_a_finalist_for_each_sentence_of_the_verdict():
    study = record(
        (0.90, 9.0, ""),  # the best
        (0.80, 5.0, ""),  # on the front, dearer than the baseline
        (0.70, 4.0, ""),  # the best at no more cost
        (0.60, 2.0, ""),  # better than the baseline, on the front
        (0.50, 1.0, ""),  # the cheapest that is as good
        (0.40, 0.5, ""),  # on the front
        (0.65, 4.5, ""),  # behind another
        (0.50, 4.0, "yolo"),
    )
    assert numbers(study) == [0, 2, 4, 1, 3, 5, 6] and numbers(study, 3) == [0, 2, 4]


def test_behind_a_baseline_that_is_better_there_are_finalists_all_the_same():
    study = record((0.9, 1.0, "yolo"), (0.3, 2.0, ""), (0.5, 3.0, ""))
    assert numbers(study) == [2, 1]
    assert numbers(record((0.3, 2.0, ""))) == [0] and numbers(record((0.3, 2.0, "yolo"))) == []


def test_the_first_finalist_is_the_best_by_its_own_training():
    study = record((0.9, 2.0, ""), (0.8, 3.0, ""), (0.7, 4.0, ""), (0.6, 1.0, ""))
    for number, fitness in ((0, 0.3), (2, 0.5)):
        study.record_confirmation(number, {"fitness": fitness})
    assert study.best.number == 2 and numbers(study) == [2, 0, 3, 1]


# What a search does with them


class Trainings:
    """Stands in for the complete trainings: fitness by the name of the model's first rows."""

    def __init__(self, monkeypatch, values):
        self.asked, self.values = [], iter(values)
        monkeypatch.setattr(UntouchedTraining, "estimate", self.estimate)
        monkeypatch.setattr(latency, "measured", lambda comparison, protocol: comparison)
        monkeypatch.setattr(plan, "make_estimator", lambda config, data: Short())
        without_pictures(monkeypatch)

    def estimate(self, definition, fidelity, report=None, weights=None):
        self.asked.append(fidelity["seed"])
        value = next(self.values)
        if isinstance(value, BaseException):
            raise value
        if weights:
            torch.save({"fitness": value}, weights)
        return {"fitness": value}


class Short:
    """Stands in for the short trainings: of the candidates, the first is best."""

    seeded = False
    fidelity = {"epochs": 1.0}  # noqa: RUF012

    def __init__(self):
        self.values = iter([0.2, 0.6, 0.5, 0.1])

    def estimate(self, architecture, fidelity=None, report=None, weights=None):
        return {"fitness": next(self.values)}


@pytest.fixture
def held(monkeypatch, cells, tmp_path, capsys):
    def run(values, *more):
        trainings = Trainings(monkeypatch, values)
        keys = [
            f"data={cells}",
            f"project={tmp_path}",
            "name=s",
            "baseline=yolov8n",
            "trials=4",
            "imgsz=64",
            *FINALS,
        ]
        code = main(["search", *(more or keys)])
        said = capsys.readouterr()
        assert code in (0, 3), said.err
        return code, tmp_path / "s", said.out, trainings

    return run


def test_best_follows_the_verdict(held):
    """The search thought the first was best; in full the second is."""
    code, folder, out, _ = held([0.3, 0.5, 0.2] * 2)
    assert code == 0, out
    names = next(line for line in out.splitlines() if line.startswith("finals: "))
    first, second = names.removeprefix("finals: ").split(" from ")[0].split(", ")
    said = (folder / "verdict.md").read_text()
    assert f"{second} is 0.3000 above yolov8n, the best baseline, in mAP50-95 on val" in said
    assert said == (folder / "finals" / "verdict.md").read_text()
    assert "The search that found it took" in said and "trainings of yolov8n" in said
    assert f"nas-{read(folder / 'best.yaml').key}" == second != first
    head = (folder / "best.yaml").read_text()
    assert "mAP50-95 0.5000 on val, mean of 2 complete trainings of 1 epochs" in head
    assert torch.load(folder / "best.pt") == {"fitness": 0.5}
    html = (folder / "report.html").read_text()
    assert html.index(f"{second} is 0.3000 above") < html.index("The finals")
    lines = out.rstrip().splitlines()[-2:]
    assert lines[0].startswith(f"  yolo val model={folder / 'best.pt'} data=")
    assert lines[1] == f"  yolo export model={folder / 'best.pt'} imgsz=64 format=onnx"


def test_a_baseline_that_is_better_is_the_verdict(held):
    code, folder, out, _ = held([0.3, 0.4, 0.6] * 2)
    assert code == 0 and "A baseline is better: yolov8n is 0.2000 above" in out
    assert "A baseline is better" in (folder / "verdict.md").read_text()
    assert torch.load(folder / "best.pt") == {"fitness": 0.4}  # the best of the found ones
    assert f"export model={folder / 'finals' / 'weights' / 'yolov8n.pt'}" in out


def test_ctrl_c_in_the_finals_and_on_again(held):
    code, folder, out, _ = held([0.3, 0.5, KeyboardInterrupt()])
    assert code == 3 and f"go on with:\n  yolo nas-search resume={folder}" in out
    before = read(folder / "best.yaml").key  # that of the search, as long as finals are open
    assert not (folder / "best.pt").exists()
    html = (folder / "report.html").read_text()
    assert "No baseline was trained" in html
    code, _, out, trainings = held([0.2, 0.3, 0.5, 0.2], f"resume={folder}")
    assert code == 0 and trainings.asked == [0, 1, 1, 1]
    assert "2 of 6 trainings are recorded already" in out
    assert read(folder / "best.yaml").key != before


def test_a_search_that_has_ended_takes_finals_on_resuming(held, cells, tmp_path, capsys):
    keys = [f"data={cells}", f"project={tmp_path}", "name=s", "trials=4", "baseline=yolov8n"]
    code, folder, out, trainings = held([], *keys, "imgsz=64")
    assert code == 0 and not trainings.asked and not (folder / "verdict.md").exists()
    assert f"yolo nas-search resume={folder} finalists=3" in out
    more = [f"resume={folder}", "finalists=1", "final_epochs=1", "seeds=1"]
    code, _, out, _ = held([0.5, KeyboardInterrupt()], *more)
    assert code == 3
    # What was asked for is kept, so that `resume=` alone goes on, as after a kill.
    code, _, out, trainings = held([0.4], f"resume={folder}")
    assert code == 0 and len(trainings.asked) == 1 and (folder / "verdict.md").is_file()


class Killed(BaseException):
    """Stands in for a kill: nothing catches it."""


def killed(*_):
    raise Killed


def test_a_kill_before_the_finals_of_a_resumed_run_leaves_their_best(held, monkeypatch):
    _, folder, _, _ = held([0.3, 0.5, 0.2] * 2)
    before, weights = (folder / "best.yaml").read_text(), (folder / "best.pt").read_bytes()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(final_comparison, "hold", killed)
        held([], f"resume={folder}")
    assert (folder / "best.yaml").read_text() == before
    assert (folder / "best.pt").read_bytes() == weights
    code, _, _, trainings = held([], f"resume={folder}")
    assert code == 0 and not trainings.asked and (folder / "best.yaml").read_text() == before


def test_ctrl_c_in_a_resumed_search_leaves_the_best_of_its_finals(held, monkeypatch):
    _, folder, _, _ = held([0.3, 0.5, 0.2] * 2)
    before = (folder / "best.yaml").read_text()

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(job, "SEARCH", (("interrupted", interrupt),))
        code, _, out, _ = held([], f"resume={folder}")
    assert code == 3 and f"go on with:\n  yolo nas-search resume={folder}" in out
    assert (folder / "best.yaml").read_text() == before


def test_a_kill_on_the_way_to_finals_does_not_forget_them(held, cells, tmp_path, monkeypatch):
    keys = [f"data={cells}", f"project={tmp_path}", "name=s", "trials=4", "baseline=yolov8n"]
    _, folder, _, _ = held([], *keys, "imgsz=64")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(outputs, "write", killed)
        held([], f"resume={folder}", "finalists=1", "final_epochs=1", "seeds=1")
    code, _, _, trainings = held([0.5, 0.4], f"resume={folder}")
    assert code == 0 and len(trainings.asked) == 2 and (folder / "verdict.md").is_file()


def test_finals_that_all_fail_are_done_in_part(held):
    code, folder, out, _ = held([TrialError("nan", "the loss is nan")] * 6)
    assert code == 3 and "All 6 trainings failed" in out
    assert (folder / "best.yaml").is_file() and "next:\n  yolo detect train" in out


def test_what_cannot_have_finals_is_refused_before_the_search(cells, tmp_path, monkeypatch, capsys):
    content = yaml.safe_load(cells.read_text())
    alone = tmp_path / "alone.yaml"
    alone.write_text(yaml.safe_dump({**content, "path": str(cells.parent), "val": None}))
    runs = tmp_path / "runs"
    for keys, message in (
        ([f"data={cells}", "storage=sqlite:///x.db"], "finalists=2: not with storage"),
        ([f"data={alone}"], "val"),
        ([f"data={cells}", "baseline=yolov8n,other.yaml"], "baseline=other.yaml: "),
    ):
        assert main(["search", *keys, f"project={runs}", *FINALS]) == 2
        assert message in capsys.readouterr().err and not runs.exists()


def test_the_cost_of_a_search_is_that_of_its_sittings(tmp_path):
    for _ in range(2):
        with run_dir.sitting(tmp_path):
            time.sleep(0.02)
    assert 0.04 <= run_dir.spent(tmp_path) < 2
    (tmp_path / "seconds.json").write_text("x")
    assert run_dir.spent(tmp_path) == 0.0


def test_finals_that_the_version_before_held_are_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    restored("finals", tmp_path, "runs/search/finals")
    shutil.move(tmp_path / "runs" / "search" / "finals" / "args.yaml", tmp_path / "runs" / "search")
    config, folder = run_dir.settings({"resume": "runs/search"})
    assert folder is not None
    (model,) = (folder / "finals" / "models").glob("nas-*.yaml")
    study = record((0.2, 1.0, ""), network=read(model))
    prepared = final_comparison.prepare(config, dataset.read(config.data, config.task))
    assert prepared is not None
    held = final_comparison.enter(prepared, study, folder, finalists=1, seconds=10.0)
    rows = recorded("finals")
    assert held.complete and [model.name for model in held.models] == [r["model"] for r in rows]
    found = held.leaderboard().evaluations
    assert [e.metrics["loss_box"] for e in found] == [float(row["loss_box"]) for row in rows]
    assert final_comparison.winner(held, study) == study.best


def small(cells, tmp_path):
    return [
        f"data={cells}",
        f"project={tmp_path}",
        "name=s",
        "baseline=yolov8n",
        "trials=2",
        "epochs=1",
        "imgsz=64",
        "confirm=0",
        "finalists=1",
        "final_epochs=1",
        "final_batch=8",
        "seeds=1",
    ]


def test_through_ultralytics_trainer(cells, tmp_path):
    assert main(["search", *small(cells, tmp_path)]) == 0
    folder = tmp_path / "s"
    assert len(list((folder / "finals" / "trainings").glob("*.json"))) == 2
    said = (folder / "verdict.md").read_text()
    assert "- measured on: 8 images of val" in said and "- trained on: all 24 images" in said
    trained = torch.load(folder / "best.pt", weights_only=False)
    assert trained["train_args"]["epochs"] == 1 and trained["train_args"]["batch"] == 8
    found = read(folder / "best.yaml")
    assert read(folder / "finals" / "models" / f"nas-{found.key}.yaml") == found
    assert (folder / "finals" / "latency.json").is_file()


@pytest.mark.slow
def test_killed_in_the_finals_and_resumed(cells, tmp_path):
    folder = tmp_path / "s"
    trainings = folder / "finals" / "trainings"
    killed_and_resumed("search", small(cells, tmp_path), folder, trainings, 0.01)
    assert (folder / "verdict.md").is_file()
