"""A small search from end to end, through Ultralytics' own trainer."""

import csv
import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import redirect_stdout

import pytest
import yaml

from tests.helpers.fakes import without_pictures
from yolo_nas_ext import loop, run_dir
from yolo_nas_ext.cli import main
from yolo_nas_ext.console import number
from yolo_nas_ext.data.builtin.cells import ensure_cells
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.estimators.base import Context
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.pipeline import job, outputs, plan

SMALL = [
    "epochs=1",
    "imgsz=64",
    "batch=8",
    "trials=4",
    "baseline=yolov8n",
    "population=2",
    "seed=3",
]


def search(given):
    return job.search(given)


def table(folder):
    return list(csv.DictReader(io.StringIO((folder / "trials.csv").read_text(encoding="utf-8"))))


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    return ensure_cells(tmp_path_factory.mktemp("cells"), train=24, val=8, size=64) / "data.yaml"


@pytest.fixture(scope="module")
def run(cells, tmp_path_factory):
    project = tmp_path_factory.mktemp("runs")
    with redirect_stdout(io.StringIO()) as printed:
        code = main(["search", f"data={cells}", f"project={project}", "name=small", *SMALL])
    text = printed.getvalue()
    assert code == 0, text
    return project / "small", text


def test_a_run_leaves_everything(run):
    folder, text = run
    for name in (
        "args.yaml",
        "study.db",
        "trials.csv",
        "best.yaml",
        "best.pt",
        "best.md",
        "report.html",
        "pareto.png",
        "progress.png",
    ):
        assert (folder / name).stat().st_size > 0, name
    front = list((folder / "pareto").glob("nas-*.yaml"))
    assert front and all(f"nas-{read(f).key}" == f.stem for f in front)
    assert {f.with_suffix(".md") for f in front} == {*(folder / "pareto").glob("*.md")}
    assert f"yolo detect train model={folder / 'best.yaml'} data=" in text
    rows = table(folder)
    assert len(rows) == 4 and rows[0]["name"] == "yolov8n"
    repeated = [row for row in rows if row["fitness_again"]]
    assert 1 <= len(repeated) <= 2 and "again 1" in text  # two where the first has lost by it
    for row in repeated:
        both = [float(row[f"fitness_{part}"]) for part in ("first", "again")]
        assert float(row["fitness"]) == sum(both) / 2
    assert "yolov8n" in text and "trial 4/4" in text
    assert not list(folder.rglob("*.tmp"))


def test_the_model_is_that_of_the_record(run):
    folder, _ = run
    done = search({"resume": str(folder)})  # nothing is left to do
    best = done.study.best
    assert read(folder / "best.yaml") == best.architecture
    assert len(list((folder / "weights").glob("*.pt"))) == 1


NATIVE = """
import sys
sys.modules["yolo_nas_ext"] = None  # as if it were not installed
import torch
from ultralytics import YOLO
model = YOLO(sys.argv[1])
n = sum(p.numel() for p in model.model.parameters())
trained = YOLO(sys.argv[2])
assert sum(p.numel() for p in trained.model.parameters()) == n
assert trained.names == {0: "red_cell", 1: "white_cell", 2: "platelet"} or len(trained.names) == 3
trained.predict(torch.zeros(1, 3, 64, 64), verbose=False)
"""


# That the other way of loading takes our checkpoints is a test of trainings, too.
@pytest.mark.parametrize("safe", [pytest.param("0", marks=pytest.mark.slow), "1"])
def test_stock_ultralytics_loads_what_was_found(run, safe):
    folder, _ = run
    environment = {**os.environ, "ULTRALYTICS_SAFE_LOAD": safe}
    subprocess.run(
        [sys.executable, "-c", NATIVE, str(folder / "best.yaml"), str(folder / "best.pt")],
        check=True,
        env=environment,
        cwd=folder,
        capture_output=True,
    )


def test_resume_with_other_settings_is_refused(run):
    folder, _ = run
    with pytest.raises(NASError, match=r"epochs=2: the run in .* has epochs=1"):
        search({"resume": str(folder), "epochs": 2})
    with pytest.raises(NASError, match="not the folder of a run"):
        search({"resume": str(folder.parent)})


def test_resume_adds_trials_as_the_uninterrupted_search_would(run, cells, tmp_path, capsys):
    folder, _ = run
    keys = {}
    for name, given in {
        "more": {"resume": str(folder), "trials": 6},
        "whole": {
            "data": str(cells),
            "project": str(tmp_path),
            "trials": 6,
            "epochs": 1,
            "imgsz": 64,
            "batch": 8,
            "baseline": "yolov8n",
            "population": 2,
            "seed": 3,
        },
    }.items():
        done = search(given)
        keys[name] = [(t.architecture.key, t.fitness) for t in done.study.trials]
    assert keys["more"] == keys["whole"]


@pytest.mark.parametrize("damage", [b"epochs: [1", b"\0", b"\xff\xfe"])
def test_a_run_with_damaged_settings_is_one_clear_line(run, tmp_path, damage):
    folder = tmp_path / "run"
    shutil.copytree(run[0], folder)
    (folder / "args.yaml").write_bytes(damage)
    with pytest.raises(NASError, match=r"args\.yaml is damaged") as caught:
        search({"resume": str(folder)})
    assert "\n" not in str(caught.value)


def test_a_baseline_that_cannot_be_read_is_named(cells, tmp_path):
    file = tmp_path / "headless.yaml"
    file.write_text("nc: 3\nbackbone:\n  - [-1, 1, Conv, [8, 3, 2]]\nhead: []\n")
    given = {"data": str(cells), "project": str(tmp_path / "runs"), "baseline": str(file)}
    with pytest.raises(NASError, match=r"baseline=\S+headless.yaml: cannot be read"):
        search(given)
    assert not (tmp_path / "runs").exists()


def test_a_full_disk_is_left_without_a_folder(cells, tmp_path, monkeypatch):
    def full(path, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_dir, "write_text", full)
    with pytest.raises(NASError, match=r"cannot write there \(No space left"):
        search({"data": str(cells), "project": str(tmp_path), "baseline": "none"})
    assert not list(tmp_path.iterdir())


def test_a_trial_is_the_same_once_more_from_its_record_alone(run, capsys):
    folder, _ = run
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert main(["search", f"rerun={folder}", "trial=2"]) == 0
    assert "the same to the last digit" in capsys.readouterr().out
    assert before == {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_trial_that_was_recorded_otherwise_is_not_the_same(run, tmp_path, capsys):
    folder = shutil.copytree(run[0], tmp_path / "other")
    with sqlite3.connect(folder / "study.db") as record:
        rows = record.execute(
            "SELECT trial_user_attribute_id, value_json FROM trial_user_attributes "
            "JOIN trials USING (trial_id) WHERE key = 'metrics' AND number = 2"
        ).fetchall()
        ((row, metrics),) = rows
        metrics = json.loads(metrics)
        changed = json.dumps({**metrics, "fitness": metrics["fitness"] + 1e-9})
        record.execute(
            "UPDATE trial_user_attributes SET value_json = ? WHERE trial_user_attribute_id = ?",
            (changed, row),
        )
    assert main(["search", f"rerun={folder}", "trial=2"]) == 1
    assert "1 of " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (["trial=9"], "trial=9: not in the record"),
        (["trial=1", "epochs=9"], "epochs=9: the run in"),
    ],
)
def test_a_trial_that_cannot_be_evaluated_again_is_one_line(run, keys, said, capsys):
    assert main(["search", f"rerun={run[0]}", *keys]) == 2
    found = capsys.readouterr()
    assert said in found.err and len(found.err.splitlines()) == 1
    assert main(["search", "rerun=nowhere", "trial=1"]) == 2
    assert "rerun=nowhere: not the folder of a run" in capsys.readouterr().err


def test_two_runs_do_not_share_a_folder(run, cells):
    folder, _ = run
    with pytest.raises(NASError, match=r"name=small: .* exists; resume="):
        search({"data": str(cells), "project": str(folder.parent), "name": "small"})
    from filelock import FileLock

    with FileLock(folder / ".lock"), pytest.raises(NASError, match="another search writes here"):
        search({"resume": str(folder)})


class Fake:
    """An estimator that fails as told, in place of trainings."""

    seeded = False

    def __init__(self, outcomes):
        self.fidelity = {"epochs": 1.0}
        self.outcomes = iter(outcomes)
        self.context = None

    def use_context(self, context):
        self.context = context

    def estimate(self, architecture, fidelity=None, report=None, weights=None):
        outcome = next(self.outcomes)
        if isinstance(outcome, BaseException):
            raise outcome
        return {"fitness": outcome}


def fake(monkeypatch, outcomes):
    monkeypatch.setattr(plan, "make_estimator", lambda config, data: Fake(outcomes))
    without_pictures(monkeypatch)


@pytest.mark.parametrize(("jobs", "shared"), [(1, False), (2, True)])
def test_workers_share_the_decoded_images(monkeypatch, cells, tmp_path, jobs, shared):
    estimator = Fake([0.5])
    monkeypatch.setattr(plan, "make_estimator", lambda config, data: estimator)
    given = {"data": str(cells), "project": str(tmp_path), "baseline": "none", "jobs": jobs}
    monkeypatch.setattr(loop, "run", lambda study, *arguments, **options: False)
    job.search(given)
    assert estimator.context == Context(tmp_path / "search", shared)
    assert estimator.context.images == tmp_path / "search" / "images"


def test_ctrl_c_ends_with_what_is_there(monkeypatch, cells, tmp_path, capsys):
    fake(monkeypatch, [0.1, 0.3, KeyboardInterrupt()])
    code = main(["search", f"data={cells}", f"project={tmp_path}", "trials=9", "baseline=none"])
    out = capsys.readouterr().out
    assert code == 3 and "interrupted" in out and f"resume={tmp_path / 'search'}" in out
    assert (tmp_path / "search" / "report.html").exists()
    fake(monkeypatch, [0.2] * 9)
    done = search({"resume": str(tmp_path / "search")})
    assert len(done.study.complete) == 9 and done.study.best.fitness == 0.3


@pytest.mark.parametrize("where", ["write", "tell"])
def test_ctrl_c_twice_breaks_off_at_once_and_loses_nothing(
    monkeypatch, cells, tmp_path, capsys, where
):
    """The second comes while results are written, as of somebody who does not want to wait."""

    def interrupt(*_):
        raise KeyboardInterrupt

    fake(monkeypatch, [0.1, 0.3, KeyboardInterrupt()])
    with monkeypatch.context() as patch:
        patch.setattr(outputs, where, interrupt)
        code = main(["search", f"data={cells}", f"project={tmp_path}", "trials=9", "baseline=none"])
    assert (code, capsys.readouterr().err) == (1, "nas-search: interrupted\n")
    fake(monkeypatch, [0.2] * 9)
    done = search({"resume": str(tmp_path / "search")})
    assert len(done.study.complete) == 9 and done.study.best.fitness == 0.3
    assert (tmp_path / "search" / "report.html").exists()


ENDED = """
import sys, time
from yolo_nas_ext.cli import main
from yolo_nas_ext.estimators.training import Training

def estimate(self, *arguments, **more):
    if len(calls) == 2:
        print("waiting", flush=True)
        time.sleep(120)
    calls.append(1)
    return {"fitness": 0.1}

calls, Training.estimate = [], estimate
sys.exit(main(sys.argv[1:]))
"""


def test_sigterm_ends_a_search_in_the_background_with_its_report(cells, tmp_path):
    """As a shell starts it by ``&``: Ctrl-C is ignored there."""
    keys = [f"data={cells}", f"project={tmp_path}", "trials=9", "baseline=none"]
    start = ["sh", "-c", 'trap "" INT HUP; exec "$@"', "sh", sys.executable, "-u", "-c", ENDED]
    process = subprocess.Popen([*start, "search", *keys], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        said = [*iter(lambda: next(lines), "waiting\n")]
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        said += lines
    assert process.returncode == 3, said
    assert f"  yolo nas-search resume={tmp_path / 'search'}\n" in said
    assert (tmp_path / "search" / "report.html").is_file()
    assert [row["state"] for row in table(tmp_path / "search")] == ["complete"] * 2 + ["running"]


def test_a_resumed_search_says_what_there_is_and_what_is_left(monkeypatch, cells, tmp_path, capsys):
    fake(monkeypatch, [0.1, TrialError("nan", "x"), KeyboardInterrupt()])
    assert (
        main(["search", f"data={cells}", f"project={tmp_path}", "trials=4", "baseline=none"]) == 3
    )
    assert "\nresumed: " not in capsys.readouterr().out
    fake(monkeypatch, [0.2] * 9)
    folder = tmp_path / "search"
    assert main(["search", f"resume={folder}"]) == 0
    out = capsys.readouterr().out
    assert (
        "resumed: 2 of 4 trials are recorded (1 failed), 1 broke off and runs again; 2 are left "
        "to try" in out
    )
    assert "trial 3/4" in out and "trial 4/4" in out and "trial 5/" not in out
    assert main(["search", f"resume={folder}", "trials=1"]) == 0
    assert "resumed: 4 of 4 trials are recorded (1 failed); none are left to try" in (
        capsys.readouterr().out
    )


def test_no_limit_is_said(monkeypatch, cells, tmp_path, capsys):
    fake(monkeypatch, [0.1] * 2)
    keys = ["trials=2", "baseline=none", "max_latency=None"]
    assert main(["search", f"data={cells}", f"project={tmp_path}", *keys]) == 0
    assert "note: max_latency=none sets no limit" in capsys.readouterr().out


def test_all_failed_is_exit_code_1(monkeypatch, cells, tmp_path, capsys):
    fake(monkeypatch, [TrialError("nan", "loss is nan")] * 3)
    code = main(["search", f"data={cells}", f"project={tmp_path}", "trials=3", "baseline=none"])
    captured = capsys.readouterr()
    assert code == 1 and "no candidate could be evaluated" in captured.err
    assert "nan: loss is nan" in captured.out
    rows = table(tmp_path / "search")
    assert [r["state"] for r in rows] == ["failed"] * 3


def test_baselines_over_the_budget_are_named_and_left_out(monkeypatch, cells, tmp_path, capsys):
    fake(monkeypatch, [0.5] * 3)
    arguments = ["trials=3", "max_params=1M", "baseline=yolov8n,yolo11n"]
    assert main(["search", f"data={cells}", f"project={tmp_path}", *arguments]) == 0
    out = capsys.readouterr().out
    assert (
        "baseline yolov8n is over the budget" in out
        and "3.02M parameters > max_params=1.00M" in out
    )
    done = search({"resume": str(tmp_path / "search")})
    assert all(t.cost["params"] <= 1e6 for t in done.study.trials)


def test_a_search_that_learnt_nothing_says_so(monkeypatch, cells, tmp_path, capsys):
    fake(monkeypatch, [0.0] * 2)
    arguments = [f"data={cells}", f"project={tmp_path}", "trials=2", "baseline=none"]
    assert main(["search", *arguments]) == 0
    assert "every mAP50-95 is 0" in capsys.readouterr().out
    assert "every mAP50-95 is 0" in (tmp_path / "search" / "report.html").read_text()


def test_skipped_images_are_named_and_exit_code_3(monkeypatch, cells, tmp_path, capsys):
    folder = tmp_path / "data"
    shutil.copytree(cells.parent, folder)
    bad = sorted((folder / "images" / "train").iterdir())[2]
    bad = bad.rename(bad.with_name("<script>alert(1).png"))
    bad.write_bytes(b"no image")
    fake(monkeypatch, [0.5])
    arguments = [f"data={folder / 'data.yaml'}", f"project={tmp_path}", "trials=1", "baseline=none"]
    assert main(["search", *arguments]) == 3
    out = capsys.readouterr().out
    assert bad.name in out and "1 of 24 training images were skipped" in out
    html = (tmp_path / "search" / "report.html").read_text()
    assert "&lt;script&gt;alert(1).png" in html and html.count("<script>") == 1


def test_a_folder_without_yaml_gets_one_for_the_next_command(monkeypatch, cells, tmp_path, capsys):
    folder = tmp_path / "data"
    shutil.copytree(cells.parent, folder)
    (folder / "data.yaml").unlink()
    fake(monkeypatch, [0.5])
    arguments = [f"data={folder}", f"project={tmp_path}", "trials=1", "baseline=none"]
    assert main(["search", *arguments]) == 0
    written = tmp_path / "search" / "data.yaml"
    assert f"data={written}" in capsys.readouterr().out
    from ultralytics.data.utils import check_det_dataset

    assert check_det_dataset(str(written))["nc"] == 3


def test_budget_hours_end_the_search(monkeypatch, cells, tmp_path, capsys):
    fake(monkeypatch, [0.5] * 50)
    given = {"data": str(cells), "project": str(tmp_path), "budget_hours": 1e-9, "trials": 50}
    assert len(search(given).study.trials) == 1


def test_the_settings_of_a_run_are_saved_as_given(run):
    saved = yaml.safe_load((run[0] / "args.yaml").read_text())
    assert saved["epochs"] == 1 and saved["baseline"] == ["yolov8n"] and "version" in saved


def test_a_full_training_of_the_best_names_the_winner(cells, tmp_path, capsys):
    keys = (
        "estimator=naswot",
        "confirm=2",
        "confirm_by=full",
        "confirm_epochs=1",
        "trials=9",
        "baseline=yolov8n",
        "imgsz=64",
        "batch=8",
        "threads=1",
        "workers=0",
    )
    assert main(["search", f"data={cells}", f"project={tmp_path}", "name=named", *keys]) == 0
    text = capsys.readouterr().out
    rows = table(tmp_path / "named")
    trained = {row["number"]: row for row in rows if row["trained_fitness"]}
    assert len(trained) in (2, 3) and "yolov8n" in {row["name"] for row in trained.values()}
    assert text.count("confirmed ") == len(trained) and (tmp_path / "named" / "best.pt").is_file()
    best = max(float(row["trained_fitness"]) for row in trained.values())
    said = (tmp_path / "named" / "best.yaml").read_text()
    assert f"mAP50-95 {number(best)} trained alone, full, for 1 epochs" in said
    assert "trained alone, full, for 1 epochs" in (tmp_path / "named" / "report.html").read_text()


def test_every_step_has_a_name_of_its_own():
    steps = [*job.BEGIN, *job.SEARCH, *job.RESULTS]
    assert len({name for name, _ in steps}) == len({step for _, step in steps}) == len(steps)


@pytest.mark.parametrize("name", [name for name, _ in job.SEARCH])
def test_ctrl_c_in_any_step_of_the_search_leaves_results(name, monkeypatch, cells, tmp_path):
    """Each step is replaced in turn by one that is interrupted."""

    def interrupted(state):
        raise KeyboardInterrupt

    steps = tuple((n, interrupted if n == name else step) for n, step in job.SEARCH)
    monkeypatch.setattr(job, "SEARCH", steps)
    fake(monkeypatch, [0.1, 0.2])
    done = search({"data": str(cells), "project": str(tmp_path), "baseline": "none", "trials": 2})
    assert done.interrupted and (done.folder / "report.html").is_file()
    assert len(done.study.complete) == (0 if name == "try candidates" else 2)
    monkeypatch.undo()
    fake(monkeypatch, [0.3, 0.4])
    assert not search({"resume": str(done.folder)}).interrupted
