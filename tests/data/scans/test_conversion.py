"""Scans converted by several processes at a time."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import psutil
import pytest

from tests.helpers.scans import nifti, pairs
from yolo_nas_ext.commands import data
from yolo_nas_ext.data.scans import conversion, workers
from yolo_nas_ext.data.scans.options import Cut, Options
from yolo_nas_ext.data.scans.volumes import ScanError


def tree(folder):
    return {f.relative_to(folder): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def test_two_processes_write_what_one_does(tmp_path, capsys):
    source = pairs(tmp_path / "in", n=5)
    (source / "images" / "case3.nii.gz").write_bytes(b"damaged")
    keys = {"source": str(source), "task": "segment", "salt": "s", "empty": 0.5}
    said = []
    for jobs in (1, 2):
        assert data.main({**keys, "out": str(tmp_path / f"out{jobs}"), "jobs": jobs}) == 3
        said.append(capsys.readouterr().out.replace(f"out{jobs}", "out"))
    assert tree(tmp_path / "out1") == tree(tmp_path / "out2")
    assert said[0] == said[1] and "case3.nii.gz cannot be read" in said[0]
    assert json.loads((tmp_path / "out2/conversion.json").read_text())["counts"]["scans"] == 4


@dataclass(frozen=True)
class Job:
    """Something for a worker to do; `bytes` is what it says that it takes."""

    what: str
    bytes: int = 1
    where: str = ""

    def run(self):
        if self.what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.what == "bad":
            raise ScanError("kind", "is bad")
        if self.what == "full":
            raise OSError(28, "No space left on device", "x")
        if self.what == "bug":
            raise ZeroDivisionError
        print("what is printed is no answer")
        return os.getpid()


def test_a_process_that_dies_costs_its_scan_alone():
    tasks = [Job("die"), Job("bad"), Job("run"), Job("run")]
    with workers.Workers() as pool:
        found = {index: tuple(rest) for index, *rest in pool.run(tasks, 2, 100)}
    assert found[0] == (workers.BAD, workers.ENDED) and found[1] == (workers.BAD, "is bad")
    assert all(found[i][0] == workers.DONE for i in (2, 3))
    assert os.getpid() not in {found[2][1], found[3][1]}
    assert not any(psutil.pid_exists(found[i][1]) for i in (2, 3))


@pytest.mark.parametrize(("what", "error"), [("full", OSError), ("bug", RuntimeError)])
def test_what_is_no_scans_fault_ends_the_conversion(what, error):
    with workers.Workers() as pool, pytest.raises(error):
        list(pool.run([Job(what)], 1, 100))


def test_processes_that_started_ahead_are_those_that_work_and_all_of_them_end():
    before = {p.pid for p in psutil.Process().children()}
    with workers.Workers(3) as pool:
        ahead = {p.pid for p in psutil.Process().children()} - before
        assert len(ahead) == 3
        done = {result for *_, result in pool.run([Job("run")] * 6, 2, 100)}
        assert done <= ahead and len(done) <= 2
    assert not any(map(psutil.pid_exists, ahead))


def test_processes_start_ahead_where_several_will_convert(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "usable_cores", lambda: 4)
    (tmp_path / "a.nii.gz").write_bytes(b"x")
    source = str(tmp_path)
    assert [workers.ahead(source, jobs) for jobs in (None, 1, 2, 9)] == [0, 0, 2, 4]
    with (tmp_path / "b.nii.gz").open("wb") as file:
        file.truncate(workers.WORTH)
    assert workers.ahead(source, None) == 4 and workers.ahead(source, 1) == 0
    assert workers.ahead(f"{source}/*.gz", 2) == 0  # what a pattern names is not known yet
    monkeypatch.setattr(workers, "usable_cores", lambda: 1)
    assert workers.ahead(source, None) == workers.ahead(source, 2) == 0


def test_volumes_are_converted_without_what_pictures_and_resampling_need():
    code = (
        "import sys; from yolo_nas_ext.commands import data_scans; "
        "print([m for m in sys.modules if m in "
        "('torch', 'monai', 'SimpleITK', 'scipy.ndimage', 'scipy.spatial', 'pycocotools')])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


class Told(workers.Worker):
    """A worker that only notes what runs beside it."""

    running: list = []  # noqa: RUF012
    most = 0

    def ask(self, task):
        import time

        Told.running.append(task.bytes)
        Told.most = max(Told.most, sum(Told.running))
        time.sleep(0.01)
        Told.running.remove(task.bytes)
        return workers.DONE, None


def test_scans_that_run_together_fit_into_the_room(monkeypatch):
    monkeypatch.setattr(workers, "Worker", Told)
    Told.most = 0
    with workers.Workers() as pool:
        tasks = [Job("run", size) for size in (4, 4, 4, 9, 2, 2, 5, 5, 5, 1)]
        done = list(pool.run(tasks, 3, 10))
    assert len(done) == 10 and 4 < Told.most <= 10
    Told.most = 0
    with workers.Workers() as pool:  # too large for the room, so alone
        assert len(list(pool.run([Job("run", 50), Job("run", 3)], 3, 10))) == 2
    assert Told.most == 50


def test_few_scans_are_converted_here(tmp_path, monkeypatch):
    def task(size):
        return conversion.Conversion(0, None, "", "", None, Options(), True, size)

    monkeypatch.setattr(conversion, "usable_cores", lambda: 4)
    small, large = [task(100)] * 9, [task(conversion.WORTH)] * 9
    assert conversion.jobs_worth(small, Options(), None) == 1
    assert conversion.jobs_worth(small, Options(), 2) == 2
    assert conversion.jobs_worth(large, Options(), None) == 4
    assert conversion.jobs_worth(large[:2], Options(), None) == 2
    monkeypatch.setattr(conversion, "free_room", lambda: int(2.5 * conversion.TORCH))
    assert conversion.jobs_worth(large, Options(cut=Cut(spacing=1.0)), None) == 2


def test_the_room_of_a_scan_counts_its_masks(tmp_path):
    from yolo_nas_ext.data.scans import pairing

    image, mask = np.zeros((20, 20, 4), np.int16), np.zeros((20, 20, 4), np.uint8)
    nifti(tmp_path / "images/a.nii.gz", image)
    nifti(tmp_path / "masks/a.nii.gz", mask)
    (entry,) = pairing.find(str(tmp_path)).entries
    assert conversion.room_for(entry) == int(conversion.MEMORY * 1600 * 3)
