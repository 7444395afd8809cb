import numpy as np
import pytest
import torch
from ultralytics.utils import ops

from yolo_nas_ext.host import mask_size


def disc(size, middle, radius):
    """Logits of a disc, linear in the distance from its border."""
    y, x = np.mgrid[:size, :size] + 0.5
    logits = radius - np.hypot(x - middle[0], y - middle[1])
    return torch.tensor(logits, dtype=torch.float32)[None]


def truth(shape, middle, radius):
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    return np.hypot(x / shape[1] - middle[0], y / shape[0] - middle[1]) < radius


# A picture of 40 x 40 in a network of 64 x 64, and prototypes of a quarter of that.
@pytest.mark.parametrize("shape", ((40, 40), (57, 57), (120, 120), (23, 23)))
def test_masks_are_drawn_at_another_size(shape):
    protos = disc(16, (8, 7), 4)
    boxes, one = torch.tensor([[2.0, 2.0, 38.0, 38.0]]), torch.ones((1, 1))
    with mask_size.masks_at(shape):
        masks = ops.process_mask_native(protos, one, boxes, (40, 40))
    assert masks.shape == (1, *shape)
    found, there = masks[0].numpy() > 0, truth(shape, (0.5, 7 / 16), 0.25)
    assert 2 * (found & there).sum() / (found.sum() + there.sum()) > 0.97
    usual = ops.process_mask_native(protos, one, boxes, (40, 40))
    if shape == (40, 40):
        np.testing.assert_array_equal(masks, usual)
    assert usual.shape == (1, 40, 40)  # as before


def test_the_border_of_a_letterbox_is_cut_off_whatever_the_size():
    protos = torch.full((1, 16, 16), -1.0)
    protos[:, 4:12] = 1.0  # a picture of 40 x 20 in the middle of 64 x 64
    boxes, none = torch.tensor([[0.0, 0.0, 40.0, 20.0]]), torch.zeros((0, 1))
    masks = mask_size.objects(protos, torch.ones((1, 1)), boxes, (20, 40), (64, 64))
    assert masks.all()
    assert mask_size.objects(protos, none, boxes[:0], (20, 40), (9, 9)).shape == (0, 9, 9)


def test_maps_of_classes_are_drawn_at_another_size():
    logits = torch.stack((torch.zeros(32, 32), disc(32, (16, 16), 6)[0]))[None]
    with mask_size.masks_at((50, 50)):
        found = ops.scale_masks(logits, (20, 20))[0].argmax(0).numpy()
    there = truth((50, 50), (0.5, 0.5), 6 / 32)
    assert 2 * (found & there).sum() / (found.sum() + there.sum()) > 0.97
