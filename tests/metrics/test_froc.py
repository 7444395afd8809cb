import numpy as np
import pytest
from scipy import ndimage

from yolo_nas_ext.data.lesions import BY_BOXES, BY_MASKS, Components
from yolo_nas_ext.data.naming import place
from yolo_nas_ext.data.polygons import objects
from yolo_nas_ext.errors import TrialError
from yolo_nas_ext.metrics.froc import RATES, evaluate, froc, match, merge, patients

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


def box(xyxy, label=0, score=1.0):
    return [*xyxy, label, score]


def slices(**rows):
    """Return slices of a scan in order: s3=[...] is slice 3."""
    return [(int(name[1:]), np.array(r, float).reshape(-1, 6)) for name, r in rows.items()]


def sizes(found):
    numbers, scores = merge(found)
    return sorted(np.bincount(np.concatenate(numbers), minlength=len(scores)).tolist())


def test_detections_of_neighbouring_slices_are_one_finding():
    a, b = (box(LESION, 0, score) for score in (0.5, 0.6))
    found = slices(s3=[a], s4=[b, box(ELSEWHERE, 0, 0.9)], s6=[a])
    assert sizes(found) == [1, 3] and sorted(merge(found)[1]) == [0.6, 0.9]
    assert sizes(slices(s3=[a], s6=[a])) == [1, 1]  # too far apart
    assert sizes(slices(s3=[a, b])) == [1, 1]  # of one slice
    assert sizes(slices(s3=[a], s4=[box(LESION, 1)])) == [1, 1]  # of two classes
    swapped = slices(s3=[a], s4=[box(ELSEWHERE, 0, 0.9), b], s6=[a])
    assert sizes(swapped) == sizes(found) and not len(merge([])[1])


def test_the_surer_box_chooses_first():
    near, exact = box((11, 10, 21, 20), 0, 0.9), box(LESION, 0, 0.4)
    numbers, scores = merge(slices(s1=[box(LESION, 0, 0.3)], s2=[exact, near]))
    assert numbers[1].tolist() == [1, 0] and scores.tolist() == [0.9, 0.4]


def test_a_lesion_is_found_once_and_by_the_surest():
    lesions = [np.array([box(LESION)])] * 2
    found = slices(
        s1=[box((11.0, 10.0, 20.0, 20.0), 0, 0.8), box((10.0, 11.0, 20.0, 20.0), 0, 0.7)],
        s2=[box(LESION, 0, 0.6), box(ELSEWHERE, 0, 0.3)],
    )
    assert match(found, lesions, [[0], [0]]).scores == ([0.8], [0.3], 1)
    nothing = np.zeros((0, 6))
    assert match(slices(s1=[], s2=[]), lesions, [[0], [0]]).scores == ([], [], 1)
    assert match(found[:1], [nothing], [[]]).scores == ([], [0.8, 0.7], 0)


def test_a_finding_of_two_lesions_finds_both():
    """As where a lesion begins in the slice in which another one ends."""
    lesions = [np.array([box(LESION)]), np.array([box(LESION)])]
    found = slices(s1=[box(LESION, 0, 0.7)], s2=[box(LESION, 0, 0.8)])
    assert match(found, lesions, [[0], [1]]).scores == ([0.8, 0.8], [], 2)


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
    one, nothing = np.array([box(LESION)]), np.zeros((0, 6))
    truth = {"p0_a_0001": one, "p0_a_0002": one, "p1_b_0007": nothing}
    found = {
        "p0_a_0002": np.array([box(LESION, 0, 0.9)]),
        "p1_b_0007": np.array([box(LESION, 0, 0.4)]),
    }
    scans, how = patients(found, truth)
    assert scans == {"p0": [([0.9], [], 1)], "p1": [([], [0.4], 0)]} and how == BY_BOXES
    known = {"p0_a_0001": [0], "p0_a_0002": [1], "p1_b_0007": []}
    scans, how = patients(found, truth, known)
    assert scans["p0"] == [([0.9], [], 2)] and how == BY_MASKS


def test_every_box_counts():
    lesion = np.array([box(LESION)])
    many = [box((x, 40, x + 5, 50), 0, 0.5) for x in range(0, 300, 10)]
    truth = np.array([*many, *lesion])
    assert evaluate({"a": truth}, {"a": truth}) == {"fitness": 1.0, "froc_cpm": 1.0}
    with pytest.raises(TrialError, match="no lesions"):
        evaluate({"a": truth}, {"a": lesion[:0]})


def test_what_sees_all_and_nothing_else_is_perfect():
    """Whatever touches what, by masks and by boxes alone."""
    rng = np.random.default_rng(0)
    for seed in range(6):
        volume = ndimage.gaussian_filter(rng.normal(size=(9, 40, 44)), (0.8, 2, 2))
        volume = (volume > np.quantile(volume, 0.9)) * (1 + (np.arange(44) > 20 + seed))
        together, truth, pieces = Components(), {}, {}
        for index, plane in enumerate(volume):
            stem = f"p0_a_{index:04d}"
            found = objects(plane, polygons=False)
            truth[stem] = np.array([box(f.box, f.value) for f in found], float).reshape(-1, 6)
            pieces[stem] = together.add(index, plane)
        of, voxels = together.lesions()
        known = {stem: [of[piece] for piece in own] for stem, own in pieces.items()}
        n = sum(ndimage.label(volume == v, np.ones((3, 3, 3)))[1] for v in (1, 2))
        assert len(voxels) == n and sum(voxels) == (volume > 0).sum()
        for lesions in (known, None):
            assert evaluate(truth, truth, known=lesions)["froc_cpm"] == 1


def test_tiles_are_joined_to_slices():
    """A lesion and a false finding in the overlap of two tiles are one each, through slices."""
    left, right = (20.0, 4.0, 28.0, 12.0), (4.0, 4.0, 12.0, 12.0)  # one place in tiles 16 apart
    false = [(x0, y0 + 16, x1, y1 + 16) for x0, y0, x1, y1 in (left, right)]
    names = [f"p0_a0_000{i}_x{x}_y0" for i in range(2) for x in (0, 16)]
    truth = {name: np.array([box((left, right)[i % 2])]) for i, name in enumerate(names)}
    found = {
        name: np.array([box((left, right)[i % 2], 0, 0.9), box(false[i % 2], 0, 0.5)])
        for i, name in enumerate(names)
    }
    shapes = dict.fromkeys(names, (32, 32))
    for known in ({}, {name: [0] for name in names}):
        scans, how = patients(found, truth, known, shapes=shapes)
        assert how == (BY_MASKS if known else BY_BOXES)
        assert scans == {"p0": [([0.9], [0.5], 1)]}
