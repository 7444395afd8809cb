import numpy as np
import pytest

from yolo_nas_ext.data.naming import place
from yolo_nas_ext.errors import TrialError
from yolo_nas_ext.metrics.froc import RATES, Box, by_patient, evaluate, froc, hits, iou, merge

LESION = (10.0, 10.0, 20.0, 20.0)
ELSEWHERE = (40.0, 40.0, 50.0, 50.0)


def cpm_by_hand(scans):
    """Sensitivity at each rate by trying every threshold, interpolated between them."""
    scores = sorted({s for t, f, _ in scans for s in (*t, *f)}, reverse=True)
    lesions, n = sum(k for _, _, k in scans), len(scans)
    points = [(0.0, 0.0)]
    for threshold in scores:
        true = sum(s >= threshold for t, _, _ in scans for s in t)
        false = sum(s >= threshold for _, f, _ in scans for s in f)
        points.append((false / n, true / lesions))
    rates, curve = zip(*points, strict=True)
    return float(np.mean(np.interp(RATES, rates, curve)))


def test_overlaps():
    assert iou(LESION, LESION) == 1 and iou(LESION, ELSEWHERE) == 0
    assert iou((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert iou((0, 0, 1, 1), (1, 0, 2, 1)) == 0


def test_detections_of_neighbouring_slices_are_one_finding():
    boxes = [Box(k, LESION, 0, 0.5 + k / 100) for k in (3, 4, 6)] + [Box(4, ELSEWHERE, 0, 0.9)]
    assert sorted(len(f) for f in merge(boxes)) == [1, 3]
    assert len(merge([Box(3, LESION), Box(6, LESION)])) == 2  # too far apart
    assert len(merge([Box(3, LESION), Box(3, LESION)])) == 2  # of one slice
    assert len(merge([Box(3, LESION, 0), Box(4, LESION, 1)])) == 2  # of two classes
    assert merge(list(reversed(boxes))) == merge(boxes) and merge([]) == []


def test_a_lesion_is_found_once_and_by_the_surest():
    lesions = merge([Box(1, LESION), Box(2, LESION)])
    findings = merge(
        [
            Box(2, LESION, 0, 0.6),
            Box(1, (11.0, 10.0, 20.0, 20.0), 0, 0.8),
            Box(2, ELSEWHERE, 0, 0.3),
            Box(1, (10.0, 11.0, 20.0, 20.0), 0, 0.7),
        ]
    )
    assert hits(findings, lesions) == ([0.8], [0.3])
    assert hits([], lesions) == ([], []) and hits(findings[:1], []) == ([], [0.8])


def test_perfect_and_blind_detectors():
    assert froc([([0.9, 0.8], [], 2), ([0.7], [], 1)]).cpm == 1
    assert froc([([], [0.9], 2), ([], [], 1)]).cpm == 0
    assert np.isnan(froc([([], [0.5], 0)]).cpm) and np.isnan(froc([]).cpm)


def test_equals_counting_by_hand():
    rng = np.random.default_rng(0)
    for _ in range(30):
        scans = []
        for _ in range(rng.integers(2, 9)):
            lesions = int(rng.integers(1, 5))
            true = list(rng.random(rng.integers(0, lesions + 1)))
            scans.append((true, list(rng.random(rng.integers(0, 12))), lesions))
        assert froc(scans).cpm == pytest.approx(cpm_by_hand(scans))


def test_pictures_to_scans_and_patients():
    assert place("p00ff_ab12_0031") == ("p00ff", "p00ff_ab12", 31)
    assert place("holiday_3") == ("holiday_3", "holiday_3", 0)
    truth = {"p0_a_0001": [Box(0, LESION)], "p0_a_0002": [Box(0, LESION)], "p1_b_0007": []}
    found = {"p0_a_0002": [Box(0, LESION, 0, 0.9)], "p1_b_0007": [Box(0, LESION, 0, 0.4)]}
    assert by_patient(found, truth) == {"p0": [([0.9], [], 1)], "p1": [([], [0.4], 0)]}


def test_the_surest_boxes_are_taken():
    lesion = np.array([[*LESION, 0, 1.0]])
    many = np.array([[*ELSEWHERE, 0, 0.1 + k / 1000] for k in range(50)])
    found = {"a": np.concatenate((many, [[*LESION, 0, 0.9]]))}
    assert evaluate(found, {"a": lesion}) == {"fitness": 1.0, "froc_cpm": 1.0}
    with pytest.raises(TrialError, match="no lesions"):
        evaluate(found, {"a": lesion[:0]})
