import albumentations as A
import numpy as np
import pytest
from PIL import Image

from tests.helpers.shapes import draw
from yolo_nas_ext.data.augment import PRESETS, SHOWN, SIDE, preset, sheet
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host import arguments


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_stay_pictures_and_boxes_follow(name, channels):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 60, (96, 96, channels), dtype=np.uint8)
    image[30:60, 20:70] = 230
    transforms = preset(name).transforms()
    moves = any(isinstance(t, A.DualTransform) for t in transforms)  # as Ultralytics asks
    params = A.BboxParams(format="pascal_voc", label_fields=["labels"]) if moves else None
    change = A.Compose(transforms, seed=0, bbox_params=params)
    boxes = {"bboxes": [(20, 30, 70, 60)], "labels": [0]}
    changed = 0
    for _ in range(60):
        new = {**boxes, **change(image=image, **(boxes if moves else {}))}
        assert new["image"].shape == image.shape and new["image"].dtype == np.uint8
        changed += not np.array_equal(new["image"], image)
        x0, y0, x1, y1 = (round(v) for v in new["bboxes"][0])
        inside = new["image"][y0 + 5 : y1 - 5, x0 + 5 : x1 - 5]
        assert inside.mean() > 120  # the box is still on the bright thing
    assert changed >= 5


@pytest.mark.parametrize("name", PRESETS)
def test_keys_are_of_ultralytics(name):
    arguments.check({**preset(name).keys, "augmentations": preset(name).transforms()})


@pytest.mark.parametrize("name", ["mri", "ct", "xray"])
def test_sides_are_not_swapped_and_grey_has_no_hue(name):
    found = preset(name)
    assert found.keys["fliplr"] == found.keys["flipud"] == found.keys["hsv_h"] == 0
    mirrors = (A.HorizontalFlip, A.VerticalFlip, A.D4, A.RandomRotate90, A.Transpose)
    assert not any(isinstance(t, (*mirrors, A.HueSaturationValue)) for t in found.transforms())


def test_unknown_preset():
    with pytest.raises(NASError, match=r"augment=xrays: no such preset. Did you mean 'xray'"):
        preset("xrays")


def test_contact_sheet(tmp_path):
    files = sorted((draw(tmp_path).parent / "images/train").iterdir())[:3]
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(tmp_path / "grey.png")
    for name in ("a", "b"):
        sheet([*map(str, files), str(tmp_path / "grey.png")], "mri", tmp_path / f"{name}.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (SIDE * (SHOWN + 1), SIDE * 4)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
