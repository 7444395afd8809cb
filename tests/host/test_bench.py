"""Networks are exported for a command, and what it printed is kept by their keys."""

from __future__ import annotations

import random
import stat
from pathlib import Path

import pytest

from yolo_nas_ext.cost.latency.command import Command
from yolo_nas_ext.host import bench as benches
from yolo_nas_ext.host.bench import FILE, Bench, Subject
from yolo_nas_ext.space.detector import DetectorSpace

SPACE = DetectorSpace.load("tiny")
ARCHITECTURE = SPACE.architecture(SPACE.sample(random.Random(0)))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No export: the file is empty."""

    def written(model: object, form: str, protocol: object, folder: Path, **_: object) -> Path:
        (folder / form).touch()
        return folder / form

    monkeypatch.setattr(benches, "written", written)


def bench(tmp_path: Path, numbers: str, repeats: int = 3) -> Bench:
    """A bench whose command prints the next of some numbers at each call."""
    script = tmp_path / "bench"
    left = tmp_path / "left"
    left.write_text(numbers.replace(" ", "\n") + "\n")
    script.write_text(
        f"#!/bin/sh\nread -r ms < {left}\nsed -i 1d {left}\necho ${{ms}}\n", encoding="utf-8"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    command = Command.parse(f"cmd:{script} {{pt}}", 20)
    return Bench(command, nc=3, task="detect", repeats=repeats)


def subjects(*keys: str) -> dict[str, Subject]:
    return {key: Subject(key, ARCHITECTURE, 64) for key in keys}


def test_a_number_far_from_the_others_is_outvoted(quick: None, tmp_path: Path) -> None:
    found = bench(tmp_path, "10 50 10 10 10 10 7 7 7").measure(subjects("a"))["a"]
    assert found.median_ms == 10 and found.runs == 6 and found.steady
    assert (tmp_path / "left").read_text().split() == ["7"] * 3


def test_numbers_that_never_agree_are_measured_so_often_and_no_more(
    quick: None, tmp_path: Path
) -> None:
    one = bench(tmp_path, "1 9 1 9 1 9 1 9 1 5")
    assert not one.measure(subjects("a"))["a"].steady
    assert one.measure(subjects("a"))["a"].runs == 9
    assert (tmp_path / "left").read_text().split() == ["5"]


def test_each_network_is_measured_once_and_kept_by_its_key(quick: None, tmp_path: Path) -> None:
    one = bench(tmp_path, "10 20 10 20 30 30 40", repeats=2)
    assert {n: m.median_ms for n, m in one.measure(subjects("a", "b")).items()} == {
        "a": 10,
        "b": 20,
    }
    one.keep(tmp_path)  # what was measured before there was a folder, too
    assert len((tmp_path / FILE).read_text().splitlines()) == 2
    with (tmp_path / FILE).open("a") as file:
        file.write('{"identity": "x", "runs_ms": [[0]]}\nnonsense\n{"identity": "y", "ru')
    again = Bench(one.command, nc=3, task="detect", repeats=2)
    again.keep(tmp_path)
    found = again.measure(subjects("a", "b", "c"))
    assert [found[n].median_ms for n in "abc"] == [10, 20, 30]
    assert (tmp_path / "left").read_text().split() == ["40"]
    other = Bench(one.command, nc=4, task="detect", repeats=1)  # whose networks are others
    other.keep(tmp_path)
    assert other.measure(subjects("a"))["a"].median_ms == 40


def test_the_files_are_those_of_ultralytics(tmp_path: Path) -> None:
    script = tmp_path / "bench"
    script.write_text(
        '#!/bin/sh\nset -e\ncp "$1" "$2" "$3"\necho 4\n'.replace("$3", str(tmp_path)),
        encoding="utf-8",
    )
    script.chmod(0o755)
    command = Command.parse(f"cmd:{script} {{onnx}} {{pt}}", 60)
    one = Bench(command, nc=3, task="detect", repeats=1)
    key = ARCHITECTURE.key
    found = one.measure({"": Subject(key, ARCHITECTURE, 64)})
    assert found[""].median_ms == 4

    import onnx
    from ultralytics import YOLO

    graph = onnx.load(tmp_path / f"nas-{key}.onnx").graph
    assert [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim] == [1, 3, 64, 64]
    assert YOLO(str(tmp_path / f"nas-{key}.pt")).model.yaml["nc"] == 3
