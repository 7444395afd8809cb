"""Scans converted by several processes at a time."""

import json
import os
import signal
from dataclasses import dataclass

import numpy as np
import psutil
import pytest

from tests.helpers.scans import nifti, pairs
from yolo_nas_ext.commands import data
from yolo_nas_ext.data.scans import conversion, workers
from yolo_nas_ext.data.scans.options import Options
from yolo_nas_ext.data.scans.slices import Cut
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
    with workers.Workers(2, 100) as pool:
        found = dict(
            (index, (kind, result))
            for index, kind, result in pool.run([Job("die"), Job("bad"), Job("run"), Job("run")])
        )
    assert found[0] == (workers.BAD, workers.ENDED) and found[1] == (workers.BAD, "is bad")
    assert all(found[i][0] == workers.DONE for i in (2, 3))
    assert os.getpid() not in {found[2][1], found[3][1]}
    assert not any(psutil.pid_exists(found[i][1]) for i in (2, 3))


@pytest.mark.parametrize(("what", "error"), [("full", OSError), ("bug", RuntimeError)])
def test_what_is_no_scans_fault_ends_the_conversion(what, error):
    with workers.Workers(1, 100) as pool, pytest.raises(error):
        list(pool.run([Job(what)]))


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
    with workers.Workers(3, 10) as pool:
        done = list(pool.run([Job("run", size) for size in (4, 4, 4, 9, 2, 2, 5, 5, 5, 1)]))
    assert len(done) == 10 and 4 < Told.most <= 10
    Told.most = 0
    with workers.Workers(3, 10) as pool:  # too large for the room, so alone
        assert len(list(pool.run([Job("run", 50), Job("run", 3)]))) == 2
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
