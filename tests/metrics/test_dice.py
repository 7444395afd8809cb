import numpy as np
import pytest
import torch
from monai.metrics.meandice import compute_dice

from yolo_nas_ext.errors import TrialError
from yolo_nas_ext.metrics.dice import counts, evaluate
from yolo_nas_ext.metrics.thresholds import GRID, at


def scores(rng, truth, quality=0.3):
    """Return scores that are higher where something is."""
    return {s: np.clip(m * quality + rng.random(m.shape) * 0.6, 0, 1) for s, m in truth.items()}


def test_equals_monai_at_every_threshold():
    rng = np.random.default_rng(0)
    truth = {f"p{s}_a_{k:04d}": rng.random((2, 9, 9)) < 0.3 for s in range(2) for k in range(3)}
    found = scores(rng, truth)
    patients = counts(found, truth)
    assert set(patients) == {"p0", "p1"}
    for patient, (scan,) in patients.items():
        stems = [s for s in truth if s.startswith(patient)]
        for index, threshold in enumerate(GRID):  # over the whole volume
            volumes = (
                np.stack([m[s] >= least for s in stems], -1)
                for m, least in ((found, threshold), (truth, 1))
            )
            a, b = (torch.from_numpy(v.astype(np.float32))[None] for v in volumes)
            np.testing.assert_allclose(scan.dice()[:, index], compute_dice(a, b)[0], rtol=1e-5)


def test_a_search_chooses_the_threshold_and_a_comparison_crosses_it():
    rng = np.random.default_rng(1)
    truth = {f"p{s}_a_{k:04d}": rng.random((1, 9, 9)) < 0.3 for s in range(4) for k in range(2)}
    found = scores(rng, truth)
    got = evaluate(found, truth)
    assert got["fitness"] == got["dice"] and got["dice_threshold"] in GRID
    means = [
        np.mean([scan.dice()[0, i] for part in counts(found, truth).values() for scan in part])
        for i in range(len(GRID))
    ]
    assert got["dice"] == pytest.approx(max(means))
    crossed = evaluate(found, truth, cross=True)
    assert crossed["dice"] <= got["dice"] and crossed["dice_threshold"] == got["dice_threshold"]
    perfect = {stem: mask.astype(float) for stem, mask in truth.items()}
    assert evaluate(perfect, truth)["dice"] == evaluate(perfect, truth, cross=True)["dice"] == 1


def test_what_is_hardly_sure_still_ranks():
    """A network of few steps sees nothing above 0.25; the better one is still told."""
    truth = {"a": np.zeros((1, 8, 8), bool), "b": np.zeros((1, 8, 8), bool)}
    for mask in truth.values():
        mask[0, 2:5, 2:5] = True
    faint = {stem: mask * 0.02 for stem, mask in truth.items()}
    worse = {
        stem: np.maximum(mask * 0.02, 0.02 * (np.arange(8) < 3)) for stem, mask in truth.items()
    }
    assert evaluate(faint, truth)["dice"] == 1
    assert 0.3 < evaluate(worse, truth)["dice"] < 0.9
    assert evaluate(faint, truth)["dice_threshold"] <= 0.02


def test_scans_without_a_class_do_not_count():
    blank, half = np.zeros((2, 4, 4), bool), np.zeros((2, 4, 4), bool)
    half[0, :2] = True
    sure = half.astype(float)
    patients = counts({"a": sure, "b": sure}, {"a": half, "b": blank})
    a, b = (patients[p][0].dice()[:, at(0.5)] for p in "ab")
    assert a[0] == 1 and np.isnan(a[1]) and np.isnan(b).all()
    assert evaluate({"a": sure, "b": sure}, {"a": half, "b": blank})["fitness"] == 1
    with pytest.raises(TrialError, match="no objects"):
        evaluate({"a": sure}, {"a": blank})
