"""Objects that no network sees are said before a search."""

import numpy as np
import pytest

from yolo_nas_ext.data.sizes import tiny


def label(shape, *sides):
    """A picture (height, width) with objects of these sizes (width, height) in pixels."""
    boxes = [[0.5, 0.5, w / shape[1], h / shape[0]] for w, h in sides]
    return {"shape": shape, "bboxes": np.array(boxes, np.float32).reshape(-1, 4)}


@pytest.mark.parametrize(("imgsz", "part"), [(640, None), (128, None), (96, "50%"), (32, "100%")])
def test_objects_under_two_pixels(imgsz, part):
    labels = [label((320, 640), (11, 90), (30, 30)), label((320, 640)), label((640, 320), (12, 20))]
    labels.append(label((640, 640), (35, 40)))
    said = tiny(labels, imgsz)
    assert (part is None) == (said == "")
    assert part is None or said.startswith(f"{part} of the objects are under 2 pixels")


def test_what_helps():
    labels = [label((1000, 2000), (10, 10))]
    said = tiny(labels, 320)
    assert "imgsz=416 shows more of them" in said and "tile=" in said
    assert tiny(labels, 416) == ""
    assert tiny([], 320) == tiny([label((99, 99))], 320) == ""
    assert "imgsz=" not in tiny([label((64, 64), (1, 1))], 64).partition("imgsz=64")[2]
