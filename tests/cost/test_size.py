"""The size of a file as it is counted, and as it is exported and quantised."""

from __future__ import annotations

import random

import pytest

from yolo_nas_ext.cost.budget import Budget
from yolo_nas_ext.cost.latency.int8 import quantized
from yolo_nas_ext.cost.latency.protocol import Protocol
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host.latency import exported
from yolo_nas_ext.space.detector import DetectorSpace

SPACE = DetectorSpace.load("tiny")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny", "yolo", "damo"])
def test_it_is_that_of_the_file(name: str) -> None:
    space = DetectorSpace.load(name)
    architecture = space.architecture(space.sample(random.Random(3)))
    file = exported(architecture, Protocol(imgsz=64), nc=3)
    for precision, found in (("fp32", file), ("int8", quantized(file))):
        counted = Budget({}, 3, 64, precision=precision).size(architecture)
        assert counted == pytest.approx(len(found), rel=0.12)


def test_a_search_keeps_it() -> None:
    budget = Budget({"max_size": 6e5}, 3, 64, precision="int8")
    within = SPACE.within(budget)
    for seed in range(3):
        architecture = within.architecture(within.sample(random.Random(seed)))
        assert budget.size(architecture) <= 6e5 < Budget({}, 3, 64).size(architecture)
    assert budget.say("max_size", 6e5) == "600KB on disk"
    with pytest.raises(NASError, match=r"max_size=10\.0KB on disk"):
        SPACE.within(Budget({"max_size": 1e4}, 3, 64)).sample(random.Random(0))
