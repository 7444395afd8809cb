"""The projection of a short training, against what it is meant to be."""

import math
import random
from dataclasses import replace

import pytest

from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.estimators.extrapolation import LARGEST, LEAST, POWER, by_flops, projected
from yolo_nas_ext.host.models import definition
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.space.detector import DetectorSpace


@pytest.fixture(scope="module")
def networks():
    space, rng = DetectorSpace.load("tiny"), random.Random(0)
    return [space.architecture(space.sample(rng)) for _ in range(12)]


@pytest.mark.parametrize("imgsz", [96, 640])
def test_yolov8n_stays_as_it_is(imgsz):
    network = read(*definition("yolov8n"))
    assert projected(0.4, network, 3, imgsz) == pytest.approx(0.4 + LEAST, rel=0.01)


def test_it_grows_with_both(networks):
    for network in networks:
        values = [projected(f, network, 3, 96) for f in (0.0, 0.001, 0.1, 0.5)]
        assert values == sorted(values) and values[0] > 0
    by_flops = sorted(networks, key=lambda n: costs(n, 3, 96).flops)
    for fitness in (0.0, 0.3):  # operations decide between equals, and where nothing is learned
        values = [projected(fitness, n, 3, 96) for n in by_flops]
        assert values == sorted(values)


def test_it_is_a_power_of_the_operations(networks):
    a, b = (costs(n, 3, 96).flops for n in networks[:2])
    x, y = (math.log(projected(0.2, n, 3, 96)) for n in networks[:2])
    assert x - y == pytest.approx(POWER * math.log(a / b))


def test_the_size_of_images_does_not_matter(networks):
    small, large = (projected(0.2, networks[0], 3, size) for size in (96, 640))
    assert small == pytest.approx(large, rel=1e-3)


def test_size_beyond_what_was_measured_is_not_credited():
    large, larger = (read(*definition(name)) for name in ("yolov8s", "yolov8m"))
    at_most = (0.2 + LEAST) * LARGEST**POWER
    assert projected(0.2, large, 3, 96) == projected(0.2, larger, 3, 96) == pytest.approx(at_most)


def test_a_branch_that_only_trains_is_not_credited(networks):
    for network in networks:
        both = replace(network, head=replace(network.head, end2end=True))
        assert costs(both, 3, 96).flops > costs(network, 3, 96).flops
        assert projected(0.1, both, 3, 96) == projected(0.1, network, 3, 96)


def test_larger_images_are_credited_as_a_larger_network_is(networks):
    small = min(networks, key=lambda n: costs(n, 3, 96).flops)
    ratio = costs(small, 3, 128).flops / costs(small, 3, 96).flops
    gain = projected(0.1, replace(small, imgsz=128), 3, 96) / projected(0.1, small, 3, 96)
    assert ratio > 1.7 and gain == pytest.approx(ratio**POWER)


def test_flops_alone_say_the_same():
    network = DetectorSpace.load("yolo").architecture(
        DetectorSpace.load("yolo").sample(random.Random(0))
    )
    flops = costs(replace(network, head=replace(network.head, end2end=False)), 3, 96).flops
    assert by_flops(0.2, flops, 96) == projected(0.2, network, 3, 96)
