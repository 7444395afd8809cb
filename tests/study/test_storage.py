"""Several processes on one record: in SQLite, and in a PostgreSQL server started for the test."""

import csv
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from sqlalchemy.exc import OperationalError

from tests.helpers.postgresql import server
from yolo_nas_ext.api import search
from yolo_nas_ext.cli import main
from yolo_nas_ext.data.builtin.cells import ensure_cells
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.pipeline import latency, plan
from yolo_nas_ext.pipeline.reevaluate import reevaluate
from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.study import database
from yolo_nas_ext.study.devices import tag
from yolo_nas_ext.study.objectives import Goal
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

SPACE = ChoiceSpace({f"l{i}": (0, 1, 2) for i in range(4)})
# Arguments: URL, number of trials, number of the own trial at which the process kills itself.
WORKER = """
import os, signal, sys, time
from yolo_nas_ext.loop import run
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.strategies import make
from tests.study.test_storage import SPACE

url, trials, fatal = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
calls = []

def estimate(trial, report):
    calls.append(trial.number)
    if len(calls) == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return {"fitness": float(sum(trial.point.values()))}

run(Study(SPACE, url, beat=1), make("evolution", SPACE), estimate, trials=trials)
"""


@pytest.fixture(scope="session")
def postgres():
    """URL of an empty database."""
    with server() as url:
        yield url


def together(url, root, tmp_path, number=4):
    """Open a new storage in processes that wait for one another first."""
    code = """
import pathlib, sys, time
from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.study.measure import Measure
from yolo_nas_ext.study.study import Study

folder = pathlib.Path(sys.argv[2])
(folder / sys.argv[3]).touch()
while len(list(folder.iterdir())) < int(sys.argv[4]):
    time.sleep(0.01)
space = ChoiceSpace({f"l{i}": (0, 1, 2) for i in range(4)})
Study(space, sys.argv[1], measure=Measure("mAP50-95"))
"""
    (tmp_path / "here").mkdir()
    given = [url, str(tmp_path / "here")]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, *given, str(n), str(number)],
            cwd=root,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(number)
    ]
    said = [process.communicate(timeout=200)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * number, said
    assert Study(SPACE, url).measure.name == "mAP50-95"


def test_four_processes_make_the_tables_of_a_new_sqlite_file_together(tmp_path, root):
    together(f"sqlite:///{tmp_path / 'study.db'}", root, tmp_path)


def test_four_processes_make_the_tables_of_a_new_postgresql_database_together(
    postgres, root, tmp_path
):
    together(new_database(postgres, "together"), root, tmp_path)


def new_database(url, name):
    from sqlalchemy import create_engine, text

    with create_engine(url, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    return f"{url.rpartition('/')[0]}/{name}"


def three(url, root, trials=30):
    """Run three processes on a study, one of which is killed in its third trial."""
    processes = [
        subprocess.Popen([sys.executable, "-c", WORKER, url, str(trials), fatal], cwd=root)
        for fatal in ("3", "0", "0")
    ]
    codes = [process.wait(timeout=200) for process in processes]
    assert codes == [-signal.SIGKILL, 0, 0]
    study = Study(SPACE, url)
    assert len(study.trials) == len(study.complete) == trials  # none running, none lost
    assert len({t.point for t in study.trials}) == trials  # none twice
    assert all(t.fitness == sum(t.point.values()) for t in study.trials)


@pytest.mark.slow
def test_three_processes_on_postgresql_one_of_them_killed(postgres, root):
    three(postgres, root)


@pytest.mark.slow
def test_three_processes_on_sqlite_one_of_them_killed(tmp_path, root):
    three(f"sqlite:///{tmp_path / 'study.db'}", root)


def point(*values):
    return SPACE.point(dict(zip(SPACE.choices, values, strict=True)))


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'study.db'}"


def test_the_second_claim_on_an_architecture_is_dropped(url):
    first, second = Study(SPACE, url), Study(SPACE, url)
    mine = first.start(Trial(0, point(0, 0, 0, 0)))
    assert second.start(Trial(0, point(0, 0, 0, 0))) is None
    other = second.start(Trial(0, point(0, 0, 0, 1)))
    assert mine is not None and other is not None and mine.number < other.number
    first.refresh()
    assert [t.state for t in first.trials] == ["running", "running"] and first.others
    second.finish(Trial(other.number, other.point, state="complete", metrics={"fitness": 1.0}))
    first.refresh()
    assert [t.state for t in first.trials] == ["running", "complete"] and not first.others


def test_claims_beyond_the_number_of_trials_are_dropped(url):
    study = Study(SPACE, url)
    assert study.start(Trial(0, point(0, 0, 0, 0)), most=1) is not None
    assert study.start(Trial(1, point(0, 0, 0, 1)), most=1) is None
    assert len(study.trials) == 1


def test_a_claim_without_heartbeats_is_released_and_tried_again(url):
    dead, alive = Study(SPACE, url, beat=1), Study(SPACE, url, beat=1)
    claim = dead.start(Trial(0, point(0, 0, 0, 0)))
    dead.abandon()  # as if it had been killed: no heartbeat comes any more
    assert alive.lost() is None
    until = time.monotonic() + 30
    while alive.lost() is None and time.monotonic() < until:
        time.sleep(0.2)
        alive.refresh()
    lost = alive.lost()
    assert lost is not None and claim is not None and lost.point == claim.point
    assert alive.trials == () and alive.lost(most=0) is None  # it does not count beyond the number
    again = alive.start(lost)
    assert again is not None and alive.lost() is None and not alive.others


def test_repeats_are_shared(url):
    """Dropped claims leave gaps in the numbers; what one process repeats no other does."""
    one = Study(SPACE, url)
    for i in range(9):
        claim = one.start(Trial(0, point(0, 0, i // 3, i % 3)))
        assert one.start(Trial(0, point(0, 0, 0, 0))) is None
        one.finish(replace(claim, state="complete", metrics={"fitness": i / 10}))
    other, told = Study(SPACE, url), []
    last = one.trials[-1].number
    assert last > len(one.trials)

    def tell(before, after):
        told.append((before.fitness, after.fitness))

    reevaluate(one, lambda trial, report: {"fitness": 0.1}, n=1, on_reevaluated=tell)
    assert told[0] == (0.8, pytest.approx(0.45)) and len(told) == 2
    reevaluate(other, lambda trial, report: pytest.fail("it was repeated"), n=1)
    assert other.results == Study(SPACE, url).results == one.results
    assert dict(other.repeats) == {last: [0.1], one.trials[-2].number: [0.1]}


GOAL = Goal(("fitness", "latency_ms"))


def finished(study, values, latency, fitness=0.5):
    claim = study.start(Trial(0, point(*values)))
    metrics = {"fitness": fitness, "latency_ms": latency}
    study.finish(replace(claim, state="complete", metrics=metrics, cost={"latency_ms": latency}))
    return claim.number


def test_latencies_of_another_device_are_kept_apart(url):
    def opened(device):
        return Study(SPACE, url, GOAL, latency_of=device, measured_on=device)

    slow, fast = opened("board"), opened("server")
    first = finished(slow, (0, 0, 0, 0), 90.0, fitness=0.6)
    second = finished(fast, (0, 0, 0, 1), 3.0)
    slow.record_measurement(first, {"latency_measured_ms": 91.0})
    fast.record_measurement(first, {"latency_measured_ms": 4.0})
    theirs = tag("server")
    for study in (slow, opened("board")):  # as it goes on, and as it is resumed
        study.refresh()
        mine, other = study.results
        assert mine.metrics == {
            "fitness": 0.6,
            "latency_ms": 90.0,
            "latency_measured_ms": 91.0,
            f"latency_on_{theirs}_measured_ms": 4.0,
        }
        assert other.metrics == {"fitness": 0.5, f"latency_on_{theirs}_ms": 3.0}
        assert other.cost == {f"latency_on_{theirs}_ms": 3.0}
        # As if it were 3 ms on the board too, the other one would be on its front.
        assert [t.number for t in study.front] == [first]
        (said,) = study.elsewhere
        assert "server" in said and f"latency_on_{theirs}_ms" in said
    fast.refresh()
    assert [t.metrics.get("latency_ms") for t in fast.trials] == [None, 3.0]
    assert [t.number for t in fast.front] == [second]
    assert len({first, second}) == 2 and "board" in fast.elsewhere[0]


def test_latencies_of_one_device_are_one_record(url):
    one, other = (Study(SPACE, url, GOAL, latency_of="board") for _ in range(2))
    finished(one, (0, 0, 0, 0), 90.0)
    finished(other, (0, 0, 0, 1), 80.0)
    one.refresh()
    assert [t.metrics["latency_ms"] for t in one.trials] == [90.0, 80.0] and not one.elsewhere


def test_two_machines_that_measure_say_that_they_are_two(tmp_path, monkeypatch, capsys):
    class Hashed:
        seeded = False
        fidelity = {"epochs": 1.0}  # noqa: RUF012

        def estimate(self, architecture, fidelity=None, report=None, weights=None):
            return {"fitness": int(architecture.key, 16) % 1000 / 1000}

    cells = ensure_cells(tmp_path / "cells", train=6, val=3, size=64) / "data.yaml"
    monkeypatch.setattr(plan, "make_estimator", lambda config, data: Hashed())
    keys = [
        f"data={cells}",
        "name=s",
        "imgsz=64",
        "baseline=none",
        "confirm=0",
        "strategy=random",
        "latency=measure",
        f"storage=sqlite:///{tmp_path / 'study.db'}",
        "objectives=fitness,latency_ms",
    ]
    said = []
    for device, ms, trials in (("server", 3.0, 2), ("board", 90.0, 4)):
        monkeypatch.setattr(latency, "device_name", lambda name=device: name)
        monkeypatch.setattr(
            latency.Timing, "of_candidate", lambda self, a, ms=ms: {"latency_ms": ms}
        )
        project = tmp_path / device
        assert main(["search", *keys, f"project={project}", f"trials={trials}"]) == 0
        said.append(capsys.readouterr().out)
        text = (project / "s" / "trials.csv").read_text(encoding="utf-8")
        rows = list(csv.DictReader(text.splitlines()))
        assert {row["latency_ms"] for row in rows} - {""} == {str(ms)}
    assert "latencies of another device" not in said[0]
    assert "latencies of another device are in this record, server, onnxruntime" in said[1]
    (column,) = (name for name in rows[0] if name.startswith("latency_on_"))
    assert [row[column] for row in rows] == ["3.0", "3.0", "", ""]


def test_bad_storages(tmp_path, url):
    Study(SPACE, url)
    with pytest.raises(NASError, match="other choices"):
        Study(ChoiceSpace({"a": (1, 2)}), url)
    with pytest.raises(NASError) as failure:
        Study(SPACE, "postgresql+psycopg2://me:secret@127.0.0.1:1/x")
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "check that its folder is there"),
        ("journal:///{tmp}/log", r"journal file cannot be shared .* give sqlite:///study.db"),
        ("redis://localhost", "Redis keeps no studies"),
        ("oracle9://me:secret@host/x", r"cannot be used .* install the driver"),
        ("sqlite:////no/such/folder/study.db", "check that its folder is there"),
        ("sqlite:///{tmp}/text.db", "no SQLite database, or is damaged"),
        ("sqlite:///{tmp}", "check that its folder is there"),
        ("postgresql+psycopg2://me:secret@127.0.0.1:1/x", r"(a server runs|install the driver)"),
    ],
)
def test_what_is_really_wrong_with_a_storage_is_said(tmp_path, url, said):
    (tmp_path / "text.db").write_text("no database" * 99)
    with pytest.raises(NASError, match=said) as failure:
        Study(SPACE, url.format(tmp=tmp_path))
    assert "secret" not in str(failure.value) and "disk has room" not in str(failure.value)


def test_a_text_that_is_no_url_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = Study(SPACE, "study.db")
    assert (tmp_path / "study.db").is_file() and not study.shared


def test_what_processes_share_is_no_file():
    with pytest.raises(NASError, match=r"storage=s\.db: cannot .* no URL; .*///s\.db"):
        search(SPACE, lambda point: {"fitness": 1.0}, storage="s.db", trials=1)


def test_a_missing_database_of_a_server_is_said(postgres):
    with pytest.raises(NASError, match=r"make the database, for example by createdb"):
        Study(SPACE, f"{postgres.rpartition('/')[0]}/elsewhere")


def test_what_passes_is_waited_for_and_what_does_not_is_not(monkeypatch):
    def raising(*texts):
        left = list(texts)

        def do():
            if left:
                raise OperationalError("", {}, Exception(left.pop(0)))
            return "done"

        return do

    monkeypatch.setattr(database, "WAITS", (0.0, 0.0))
    assert database.patiently(raising("database is locked", "deadlock detected")) == "done"
    assert database.patiently(raising("no such table: studies"), making=True) == "done"
    for text in ("no such table: studies", "disk is full", "connection refused"):
        with pytest.raises(OperationalError):
            database.patiently(raising(text))
    monkeypatch.setattr(database, "PATIENCE", 0.0)
    with pytest.raises(OperationalError):
        database.patiently(raising(*["database is locked"] * 9))
