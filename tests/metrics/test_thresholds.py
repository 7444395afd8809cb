import numpy as np
import pytest

from yolo_nas_ext.metrics.thresholds import GRID, at, best, crossed, level


def test_levels_count_the_thresholds_that_a_score_reaches():
    scores = np.array([0, 0.0009, 0.001, 0.25, 0.96, 1], np.float32)
    assert level(scores).tolist() == [0, 0, 1, at(0.25) + 1, len(GRID), len(GRID)]
    assert (np.diff(GRID) > 0).all()


def test_the_best_is_in_the_middle_of_its_plateau():
    values = np.zeros(len(GRID))
    values[4:9] = 0.5
    assert best([values], lambda parts: parts[0]) == 6
    for nothing in (np.zeros(len(GRID)), np.full(len(GRID), np.nan)):
        assert GRID[best([nothing], lambda parts: parts[0])] == 0.25


def test_no_patient_has_a_say_in_its_own_threshold():
    def of(index):
        return [np.eye(len(GRID))[index]]

    def mean(parts):
        return np.mean(parts, 0)

    chosen = crossed({"a": of(3), "b": of(3), "c": of(9)}, mean)
    assert chosen["c"] == 3 and chosen["a"] in (3, 9)
    assert GRID[crossed({"a": of(3)}, mean)["a"]] == pytest.approx(0.25)
