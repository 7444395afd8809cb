"""Drawn cells: boxes where the light falls, classes as declared."""

from collections import Counter

import numpy as np
import pytest

from yolo_nas_ext.data.builtin import smears
from yolo_nas_ext.data.builtin.smears import NAMES, draw


@pytest.mark.parametrize("kind", range(3))
@pytest.mark.parametrize("at", [(40.3, 37.8), (1.5, 40.0), (78.0, 79.0)])
def test_boxes_are_tight_around_the_cell(kind, at):
    """One cell on a blank field: its box is where the light falls, within 1.5 pixels."""
    for seed in range(12):
        field = smears.Field(80, smears.Random(seed))
        smears.DRAWERS[kind](field, *at, (10.0, 3.0, 17.0)[kind])
        (name, *box) = field.boxes[0]
        assert name == kind
        dark = 1.0 - field.light.min(-1)
        ys, xs = np.nonzero(dark > 0.25 * np.percentile(dark[dark > 0.01], 60))
        seen = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
        assert np.abs(np.subtract(box, seen)).max() <= 1.5, (seed, box, seen)


def test_classes_are_unequal_in_the_declared_order():
    """Red cells, then platelets, then white cells; the border cuts some."""
    boxes = [b for i in range(60) for b in draw(size=160, seed=(1, 0, 0, i))[1]]
    counts = Counter(NAMES[b[0]] for b in boxes)
    assert counts["red_cell"] > 3 * counts["platelet"] > 6 * counts["white_cell"] > 0
    assert any(b[1] == 0 or b[2] == 0 or b[3] == 160 or b[4] == 160 for b in boxes)
