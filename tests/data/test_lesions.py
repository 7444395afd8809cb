import json

import numpy as np
import pytest
from scipy import ndimage

from yolo_nas_ext.data import lesions
from yolo_nas_ext.data.lesions import Components, ious, of_boxes
from yolo_nas_ext.data.polygons import objects


@pytest.mark.parametrize(("connectivity", "rank"), [(8, 3), (4, 1)])
def test_components_are_those_of_scipy(connectivity, rank):
    rng = np.random.default_rng(3)
    volume = (rng.random((7, 15, 18)) < 0.25) * rng.integers(1, 3, (7, 15, 18))
    together = Components(connectivity)
    own = [together.add(index, plane) for index, plane in enumerate(volume)]
    of, sizes = together.lesions()
    structure = ndimage.generate_binary_structure(3, rank)
    expected = []
    for value in (1, 2):
        parts, n = ndimage.label(volume == value, structure)
        expected += np.bincount(parts.ravel())[1 : n + 1].tolist()
    assert sorted(sizes) == sorted(expected)
    assert len(of) == sum(map(len, own)) == len(together.sizes)


def test_a_slice_that_is_missing_parts_lesions():
    plane = np.ones((3, 3), int)
    together = Components()
    for index in (0, 1, 3):
        together.add(index, plane)
    assert together.lesions() == ([0, 0, 1], [18, 9])


def test_boxes_that_overlap_in_neighbouring_slices_are_of_one_lesion():
    a, b, far = [0, 0, 4, 4, 0], [3, 3, 6, 6, 0], [20, 20, 24, 24, 0]
    rows, n = of_boxes([(0, np.array([a, far])), (1, np.array([b])), (3, np.array([a]))])
    assert rows == [[0, 1], [0], [2]] and n == 3
    rows, n = of_boxes([(0, np.array([a])), (1, np.array([[*a[:4], 1]]))])  # another class
    assert n == 2
    # Two of one slice that one of the next touches are of one lesion.
    assert of_boxes([(0, np.array([a, b])), (1, np.array([[2, 2, 5, 5, 0]]))])[1] == 1


def test_overlaps():
    lesion, other = [10.0, 10, 20, 20, 0], [40.0, 40, 50, 50, 0]
    table = ious(np.array([lesion, other]), np.array([lesion, [*lesion[:4], 1]]))
    np.testing.assert_array_equal(table, [[1, 0], [0, 0]])
    assert ious(np.array([[0, 0, 2, 2, 0]]), np.array([[1, 0, 3, 2, 0]])) == pytest.approx(1 / 3)
    assert ious(np.array([[0, 0, 1, 1, 0]]), np.array([[1, 0, 2, 1, 0]])) == 0


def test_a_data_set_says_its_lesions(tmp_path):
    assert lesions.read(tmp_path) == {}
    content = {"scans": {"p0_a": {"pictures": {"p0_a_0001": [0, 2]}, "voxels": [1, 2, 3]}}}
    (tmp_path / lesions.FILE).write_text(json.dumps(content))
    assert lesions.read(tmp_path) == {"p0_a_0001": [0, 2]}
    (tmp_path / lesions.FILE).write_text("[]")
    assert lesions.read(tmp_path) == {}


def test_objects_of_a_window_are_of_pieces_of_the_slice():
    plane = np.zeros((12, 20), int)
    plane[2:5, 1:18] = 1  # two legs and what joins them outside of the window
    plane[2:11, 1:3] = plane[2:11, 15:18] = 1
    plane[6:9, 6:9] = 2
    together = Components()
    whole = together.add(0, plane)
    there = np.s_[5:12, 0:20]
    found = objects(plane[there], polygons=False)
    assert [one.value for one in found] == [1, 1, 2]
    assert together.within(there) == [whole[0], whole[0], whole[1]]
    large = objects(plane[there], polygons=False, min_area=10)
    assert together.within(there, 10) == [whole[0], whole[0]] and len(large) == 2
    assert together.within(np.s_[:, :]) == whole
