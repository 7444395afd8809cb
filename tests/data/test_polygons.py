import itertools

import numpy as np
import pytest
from scipy import ndimage

from yolo_nas_ext.data.polygons import covered, fill, objects, outline


def blobs(seed, size=40):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(6, size, 2))
    field = ndimage.gaussian_filter(rng.normal(size=shape), rng.uniform(0.1, 3))
    return field > np.quantile(field, rng.uniform(0.2, 0.95))


def written(polygon, shape):
    """A polygon as it comes back from a label file, which has six decimals."""
    size = np.array(shape[::-1])
    return np.round(polygon / size, 6) * size


@pytest.mark.parametrize("connectivity", [4, 8])
def test_polygons_give_their_masks_again_holes_and_bridges_included(connectivity):
    structure = np.ones((3, 3)) if connectivity == 8 else None
    for seed in range(60):
        mask = blobs(seed)
        found = objects(mask.astype(int), connectivity=connectivity)
        parts, n = ndimage.label(mask, structure)
        assert len(found) == n
        drawn = [fill(written(f.polygon, mask.shape), mask.shape) for f in found]
        assert sum(d.sum() for d in drawn) == sum(f.area for f in found) == mask.sum()
        for d in drawn:  # each is one of scipy's components, to the pixel
            label = parts[d].max()
            assert np.array_equal(parts == label, d)


def test_polygon_to_mask_to_polygon_is_stable():
    for seed in range(30):
        mask = blobs(seed)
        for found in objects(mask.astype(int)):
            again = objects(fill(found.polygon, mask.shape).astype(int))
            assert len(again) == 1 and np.array_equal(again[0].polygon, found.polygon)


def test_an_outline_runs_along_the_edges_of_pixels():
    mask = np.zeros((10, 10), np.uint8)
    mask[2:5, 3:9] = 1
    points = outline(mask)
    assert np.allclose(points.min(0), (3, 2), atol=0.03)
    assert np.allclose(points.max(0), (9, 5), atol=0.03)


def test_a_pixel_and_a_frame():
    (pixel,) = objects(np.eye(1, dtype=int))
    assert pixel.box == (0, 0, 1, 1) and fill(pixel.polygon, (1, 1)).all()
    frame = np.ones((7, 8), int)
    frame[2:5, 2:6] = 0
    (found,) = objects(frame)
    assert np.array_equal(fill(found.polygon, frame.shape), frame == 1)


def test_classes_connectivity_and_least_size():
    plane = np.zeros((8, 8), int)
    plane[0, 0] = plane[1, 1] = 1  # they touch at a corner
    plane[4:7, 4:7] = 3
    assert [(f.value, f.box) for f in objects(plane)] == [(1, (0, 0, 2, 2)), (3, (4, 4, 7, 7))]
    assert len(objects(plane, connectivity=4)) == 3
    assert [f.value for f in objects(plane, min_area=3)] == [3]
    assert all(f.polygon is None for f in objects(plane, polygons=False))
    assert objects(np.zeros((4, 4), int)) == []


def test_instances_are_whole_in_however_many_pieces():
    plane = np.zeros((9, 9), int)
    plane[1, 1] = plane[7, 7] = 5
    plane[4:6, 4:6] = 6
    found = objects(plane, instances=True)
    assert [(f.value, f.box, f.area) for f in found] == [(5, (1, 1, 8, 8), 2), (6, (4, 4, 6, 6), 4)]


def test_scaled_polygons_keep_their_area():
    mask = np.zeros((30, 30), int)
    mask[5:15, 8:21] = 1
    (found,) = objects(mask)
    for scale in (2, 3, 5):
        drawn = fill(found.polygon * scale, (30 * scale, 30 * scale))
        truth = np.kron(mask, np.ones((scale, scale))).astype(bool)
        both = (drawn & truth).sum()
        assert 2 * both / (drawn.sum() + truth.sum()) > 0.99


def test_nested_holes():
    y, x = np.mgrid[:41, :41]
    ring = (np.hypot(x - 20, y - 20) // 4 % 2 == 0).astype(int)
    whole = np.zeros_like(ring)
    for found, other in itertools.product(objects(ring), [ring]):
        drawn = fill(found.polygon, ring.shape)
        assert (other[drawn] == 1).all()
        whole += drawn
    assert np.array_equal(whole, ring)


def test_more_pieces_than_any_object_has_are_refused():
    mask = np.zeros((200, 200), np.int64)
    mask[::4, ::4] = 1
    with pytest.raises(ValueError, match="an object in 2,500 pieces, at most 1000 are joined"):
        objects(mask, instances=True)


def test_pixels_whose_middle_is_inside_are_covered():
    for seed in range(20):
        mask = blobs(seed)
        for found in objects(mask.astype(int)):
            line = written(found.polygon, mask.shape)
            np.testing.assert_array_equal(covered(line, mask.shape), fill(line, mask.shape))
    # At another size a shape keeps its area, which filling makes larger by half a pixel a side.
    y, x = np.mgrid[:60, :60] + 0.5
    disc = np.hypot(x - 30, y - 28) < 20
    small = outline(disc) * 0.7
    assert covered(small, (42, 42)).sum() == pytest.approx(disc.sum() * 0.49, rel=0.02)
    assert fill(small, (42, 42)).sum() > disc.sum() * 0.49 * 1.05
    assert covered(outline(disc[:25, :11]) * 0.05, (5, 5)).sum() == 1  # that holds no middle
