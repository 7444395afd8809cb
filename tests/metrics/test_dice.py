import numpy as np
import pytest

from yolo_nas_ext.errors import TrialError
from yolo_nas_ext.metrics.dice import dice, evaluate


def test_slices_of_a_scan_are_one_volume():
    rng = np.random.default_rng(0)
    truth = {f"p0_a{s}_{k:04d}": rng.random((2, 9, 9)) < 0.3 for s in range(2) for k in range(3)}
    found = {stem: mask ^ (rng.random(mask.shape) < 0.1) for stem, mask in truth.items()}
    values = dice(found, truth)
    assert set(values) == {"p0_a0", "p0_a1"}
    for scan, got in values.items():  # by hand, over the whole volume
        stems = [s for s in truth if s.startswith(scan)]
        for c in range(2):
            a, b = (np.stack([m[s][c] for s in stems]) for m in (found, truth))
            assert got[c] == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
    mean = np.mean(list(values.values()))
    assert evaluate(found, truth) == pytest.approx({"fitness": mean, "dice": mean})
    assert evaluate(truth, truth)["dice"] == 1


def test_scans_without_a_class_do_not_count():
    blank, half = np.zeros((2, 4, 4), bool), np.zeros((2, 4, 4), bool)
    half[0, :2] = True
    values = dice({"a": half, "b": half}, {"a": half, "b": blank})
    assert values["a"][0] == 1 and np.isnan(values["a"][1]) and np.isnan(values["b"]).all()
    assert evaluate({"a": half, "b": half}, {"a": half, "b": blank})["fitness"] == 1
    with pytest.raises(TrialError, match="no objects"):
        evaluate({"a": half}, {"a": blank})
