"""The limit of a search that was given none."""

from dataclasses import replace

import pytest

from tests.helpers.devices import made_up
from tests.helpers.parents import checkpoint, small
from tests.helpers.shapes import draw
from yolo_nas_ext.config.search import configure
from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.cost.latency.profile import save
from yolo_nas_ext.cost.latency.protocol import Measurement, Protocol
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.pipeline import limits, plan
from yolo_nas_ext.pipeline import parent as parents
from yolo_nas_ext.pipeline.baselines import Baseline
from yolo_nas_ext.pipeline.latency import Timing


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    return checkpoint(tmp_path_factory.mktemp("parents"))


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("shapes"))


@pytest.fixture(scope="module")
def data(shapes):
    return read(shapes)


def settled(data, timings=(), baselines=(), **given):
    config, parent, _ = parents.settle(configure({"imgsz": 64, **given}, {}, {}))
    return limits.settle(config, timings, data, parent, baselines)


def flops(network, data, imgsz=64):
    return costs(network, data.nc, imgsz).flops


def test_a_limit_that_was_given_stays(data, mine):
    for given in ({"max_params": "1M"}, {"max_flops": None}, {"resume": "a"}):
        config, _, notes = settled(data, model=str(mine), **given)
        assert config.max_flops is None and not notes


def test_the_flops_of_the_parent(data, mine):
    config, _, (note,) = settled(data, model=str(mine))
    assert config.max_flops == flops(small(), data) and config.limited
    assert note.startswith("max_flops=") and "what mine has at 64 px, as no limit is given" in note


def test_the_flops_of_the_largest_baseline(data):
    two = [Baseline(name, name, small(seed)) for name, seed in (("a", 1), ("b", 2))]
    config, _, (note,) = settled(data, baselines=two)
    assert config.max_flops == max(flops(each.network, data) for each in two)
    assert any(f"what {each.name} has" in note for each in two)
    assert settled(data).config.max_flops is None


class Timed(Timing):
    """A timing whose measurement is known."""

    def measure(self, networks):
        return {name: Measurement(7.5, 7.5, 7.5, 1, self.protocol) for name in networks}


def test_the_measured_latency_of_the_parent(data, mine):
    timing = Timed(Protocol(imgsz=64), None, None, True, (), data.nc, "detect")
    config, (timed,), (note,) = settled(data, [timing], model=str(mine), latency="measure")
    assert config.max_latency == (7.5,) and timed.limit == 7.5 and config.max_flops is None
    assert "max_latency=7.5, the latency of mine at 64 px (7.50 ms measured)" in note
    assert timed.unit == replace(small(), imgsz=timed.unit.imgsz)
    # A resumed search keeps what it began with.
    again = replace(config, given=frozenset({"model", "latency"}), resume="a")
    kept = limits.settle(again, [replace(timed, limit=3.0)], data, *parents.settle(again)[1:2], [])
    assert kept.config is again and kept.timings[0].limit == 3.0 and not kept.notes


def test_what_the_user_limits_is_not_beside_the_parent(data, mine):
    timing = Timed(Protocol(imgsz=64), None, 9.0, True, (), data.nc, "detect")
    given = {"model": str(mine), "latency": "measure", "max_latency": 9}
    config, (timed,), notes = settled(data, [timing], **given)
    assert config.max_latency == (9.0,) and timed.unit is None and not notes


def test_a_profile_of_this_machine_has_a_unit_where_the_user_limits(data, mine, tmp_path):
    profile, file = made_up(64), tmp_path / "device.json"
    save(profile, file)
    timing = Timing(Protocol(imgsz=64), profile, 9.0, True, (), data.nc, "detect")
    given = {"model": str(mine), "latency": str(file), "max_latency": 9}
    ms = profile.predict(small(), data.nc, 64)
    (timed,) = settled(data, [timing], **given).timings
    assert (
        timed.unit_ms == pytest.approx(ms, rel=1e-4) and not timed.relative and timed.limit == 9.0
    )
    (elsewhere,) = settled(data, [replace(timing, here=False)], **given).timings
    assert elsewhere.unit is None


def test_a_search_within_it_finds_networks(shapes):
    """Of the usual search too, whose baselines are the largest of the space `tiny`."""
    made = plan.make(configure({"data": str(shapes), "imgsz": 64}, {}, {}))
    assert made.config.max_flops and [t.name for t in made.baselines] == [
        "yolov8n",
        "yolo11n",
        "yolo26n",
    ]
    assert any(note.startswith("max_flops=") for note in made.notes)


def test_a_space_that_has_nothing_within_it_has_no_limit(shapes, mine):
    given = {"data": str(shapes), "imgsz": 64, "model": str(mine), "space": "tiny"}
    given["sizes"] = "512,640"
    made = plan.make(configure(given, {}, {}))
    assert made.config.max_flops is None
    assert any(note.startswith("no limit, as no network of the space keeps") for note in made.notes)
