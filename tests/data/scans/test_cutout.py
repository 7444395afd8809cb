import numpy as np

from yolo_nas_ext.data.polygons import covered, objects
from yolo_nas_ext.data.scans.cutout import Cutout


def drawn(mask, cutout):
    """The objects of a mask in a picture of another size, and the picture's shape."""
    (found,) = objects(mask[cutout.window].astype(int))
    return cutout.scaled(found)


def test_objects_are_where_they_are_in_a_picture_of_another_size():
    mask = np.zeros((30, 40), bool)
    mask[6:12, 10:25] = True
    found = drawn(mask, Cutout((15, 30), (30, 40)))
    np.testing.assert_allclose(found.box, (7.5, 3, 18.75, 6))
    np.testing.assert_allclose(found.polygon.min(0), (7.5, 3), atol=0.02)
    np.testing.assert_allclose(found.polygon.max(0), (18.75, 6), atol=0.02)
    assert found.area == 90 * 0.75 * 0.5
    assert drawn(mask, Cutout((30, 40), (30, 40))).box == (10, 6, 25, 12)


def test_tiles_of_another_size_share_out_what_is_in_their_slice():
    mask = np.zeros((50, 70), bool)
    mask[3:47, 5:66] = True
    shape, whole = (35, 49), np.zeros((35, 49), bool)
    for y in (0, 15):
        for x in (0, 20, 29):
            found = drawn(mask, Cutout(shape, mask.shape, (x, y), 20))
            height, width = min(20, 35 - y), min(20, 49 - x)
            left, top, right, bottom = found.box
            assert 0 <= left < right <= width and 0 <= top < bottom <= height
            assert found.polygon.min() >= 0 and (found.polygon.max(0) <= (width, height)).all()
            whole[y : y + 20, x : x + 20] |= covered(found.polygon, (height, width))
    (one,) = objects(mask.astype(int))
    of_slice = covered(Cutout(shape, mask.shape).scaled(one).polygon, shape)
    assert (whole != of_slice).sum() <= 2 * sum(shape)  # a pixel of the border at the most
