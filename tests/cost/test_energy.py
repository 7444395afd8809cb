"""Energy by counters of the processor: a made-up folder of Linux, whose counters the run moves."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.powercap import powercap
from yolo_nas_ext.cost import energy
from yolo_nas_ext.errors import NASError


def spend(folder: Path, microjoules: int, zone: str = "intel-rapl:0") -> None:
    file = folder / zone / "energy_uj"
    most = int((folder / zone / "max_energy_range_uj").read_text())
    file.write_text(f"{(int(file.read_text()) + microjoules) % most}\n")


def test_an_image_takes_what_every_processor_counts_and_no_part_of_one_twice(tmp_path):
    folder = powercap(tmp_path, {"intel-rapl:0": "package-0", "intel-rapl:1": "package-1"})
    powercap(folder, {"intel-rapl:0:0": "core", "intel-rapl:2": "psys", "intel-rapl-mmio:0": "x"})
    counters = energy.zones(folder)
    assert [zone.file.parent.name for zone in counters] == ["intel-rapl:0", "intel-rapl:1"]

    def run() -> None:
        for zone, uj in (("intel-rapl:0", 3000), ("intel-rapl:1", 1000), ("intel-rapl:0:0", 2000)):
            spend(folder, uj, zone)

    assert energy.millijoules({"a": run}, counters, seconds=0) == {"a": 4.0}
    assert energy.millijoules({"a": run}, counters, images=4, seconds=0) == {"a": 1.0}


def test_networks_take_turns_and_a_single_odd_turn_does_not_count(tmp_path):
    folder = powercap(tmp_path, {"intel-rapl:0": "package-0"})
    order = []

    def run(name: str, usual: int) -> None:
        order.append(name)
        odd = name == "a" and order.count("a") <= energy.FEWEST + 1  # its first turn
        spend(folder, 50 * usual if odd else usual)

    runs = {name: lambda name=name, uj=uj: run(name, uj) for name, uj in (("a", 100), ("b", 700))}
    found = energy.millijoules(runs, energy.zones(folder), seconds=0)
    assert found == {"a": 0.1, "b": 0.7}
    turn = energy.FEWEST + 1
    assert order == (["a"] * turn + ["b"] * turn) * energy.TURNS


def test_a_counter_that_begins_anew_goes_on(tmp_path):
    folder = powercap(tmp_path, {"intel-rapl:0": "package-0"}, microjoules=9_999, most=10_000)
    run = {"a": lambda: spend(folder, 500)}
    assert energy.millijoules(run, energy.zones(folder), seconds=0) == {"a": 0.5}


def test_one_line_says_where_there_is_none(tmp_path, monkeypatch):
    with pytest.raises(NASError, match="this machine has no counter of energy") as caught:
        energy.zones(tmp_path)
    assert "give a command that prints joules, 'energy=cmd:./joules {onnx}'" in str(caught.value)
    assert "\n" not in str(caught.value)
    folder = powercap(tmp_path, {"intel-rapl:0": "package-0"})
    with pytest.raises(NASError, match="did not move in 0 s"):
        energy.millijoules({"a": lambda: None}, energy.zones(folder), seconds=0)

    def denied(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    (folder / "intel-rapl:0" / "energy_uj").write_text("much\n")
    with pytest.raises(NASError, match="energy_uj cannot be read"):
        energy.zones(folder)
    real = Path.read_text
    monkeypatch.setattr(
        Path, "read_text", lambda p, *a: denied() if p.name == "energy_uj" else real(p, *a)
    )
    with pytest.raises(NASError, match=r"can be read by root alone; allow it \(sudo chmod a\+r"):
        energy.zones(folder)
