"""Boxes that are corners, that reach beyond their image, and that have no outline."""

import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from yolo_nas_ext.commands.data import main as coco_main
from yolo_nas_ext.data.coco.boxes import settled
from yolo_nas_ext.data.coco.convert import import_coco
from yolo_nas_ext.errors import NASError

SQUARE = [[4, 3, 24, 3, 24, 18, 4, 18]]  # around the box 4 3 20 15
CORNERS = "boxes that are corners (x1 y1 x2 y2), turned into sizes"
BEYOND = "boxes that reach beyond their image, cut"


def settle(boxes, outlines=None, size=(40, 30)):
    """Return what becomes of boxes in an image, and what was counted."""
    rows = [{"id": i, "image_id": 1, "bbox": box} for i, box in enumerate(boxes)]
    did = Counter()
    settled([{"id": 1, "width": size[0], "height": size[1]}], rows, outlines or {}, did)
    return [row["bbox"] for row in rows], did


def test_corners_are_known_by_outlines():
    boxes, did = settle([[4, 3, 24, 18], None, [1, 1, 3, 4]], {0: [4, 3, 20, 15]})
    assert boxes == [[4, 3, 20, 15], None, [1, 1, 2, 3]]
    assert did[CORNERS] == 2


def test_sizes_are_known_by_outlines_though_they_reach_beyond():
    boxes, did = settle([[30, 3, 20, 15], [30, 20, 35, 25]], {0: [30, 3, 20, 15]})
    assert boxes == [[30, 3, 20, 15], [30, 20, 35, 25]]
    assert (did[CORNERS], did[BEYOND]) == (0, 2)


def test_corners_are_known_by_the_borders():
    boxes, did = settle([[30, 20, 39, 29], [25, 18, 38, 30], [1, 1, 5, 6]])
    assert boxes == [[30, 20, 9, 9], [25, 18, 13, 12], [1, 1, 4, 5]]
    assert did[CORNERS] == 3


@pytest.mark.parametrize(
    "boxes",
    [
        [[30, 20, 39, 29]],  # one may be a slip
        [[30, 20, 39, 29], [25, 18, 38, 30], [10, 10, 5, 6]],  # no corner: it would end before it
        [[30, 20, 39, 29], [1, 1, 5, 6], [2, 2, 5, 6]],  # most are whole as they are
        [[30, 20, 39, 50], [25, 18, 38, 60]],  # corners beyond the image
    ],
)
def test_boxes_that_may_be_either_stay(boxes):
    after, did = settle(boxes)
    assert after == boxes and not did[CORNERS] and did[BEYOND] >= 1


@pytest.mark.parametrize("size", [(None, None), (0, 30)])
def test_nothing_is_known_of_images_without_a_size(size):
    boxes = [[30, 20, 39, 29], [25, 18, 38, 30]]
    assert settle(boxes, size=size) == (boxes, {BEYOND: 0})


def written(folder, shapes, n=12, box=(4, 3, 20, 15)):
    """Write n images of 40 x 30 and their JSON, an object with a box each, and its path."""
    (folder / "images").mkdir()
    for i in range(n):
        array = np.random.default_rng(i).integers(0, 255, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(array).save(folder / "images" / f"{i}.png")
    rows = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": list(box), "segmentation": shape}
        for i, shape in enumerate([*shapes, *[SQUARE] * (n - len(shapes))])
    ]
    data = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 40, "height": 30} for i in range(n)],
        "annotations": rows,
        "categories": [{"id": 1, "name": "cell"}],
    }
    (folder / "a.json").write_text(json.dumps(data))
    return folder / "a.json"


NONE = [
    None,
    [],
    [[]],
    "",
    [[1, 2]],
    [[4, 3, 24, 18]],
    [[4, 3, 24, 3, 14, 3]],
    {"size": [1, 1], "counts": [0, 1]},
    [["a"] * 6],
]


@pytest.mark.parametrize("shape", NONE, ids=str)
def test_an_object_without_an_outline_is_no_background(shape, tmp_path, capsys):
    source = written(tmp_path, [shape])
    given = {"source": source, "images": tmp_path / "images", "task": "segment"}
    assert coco_main({**map_text(given), "out": str(tmp_path / "left")}) == 3
    said = capsys.readouterr().out
    assert "skipped: 0.png has 1 objects with a box and no outline" in said
    assert "without an outline          1" in said and "boxes=outlines" in said
    assert sorted(p.stem for p in (tmp_path / "left/labels").rglob("*.txt")) == sorted(
        str(i) for i in range(1, 12)
    )
    taken = {**map_text(given), "out": str(tmp_path / "taken"), "boxes": "outlines"}
    assert coco_main(taken) == 0
    assert "their boxes are taken for outlines" in capsys.readouterr().out
    label = next((tmp_path / "taken").rglob("0.txt")).read_text().split()
    x, y, right, bottom = 4 / 40, 3 / 30, 24 / 40, 18 / 30
    wanted = [0, x, y, right, y, right, bottom, x, bottom]
    assert list(map(float, label)) == pytest.approx(wanted, abs=1e-6)


def map_text(given):
    return {name: str(value) for name, value in given.items()}


def test_boxes_alone_are_refused_with_the_way_out(tmp_path):
    source = written(tmp_path, [None] * 12)
    with pytest.raises(NASError, match="no outline; task=detect takes boxes, boxes=outlines"):
        import_coco(source, tmp_path / "images", tmp_path / "out", task="segment")


def test_boxes_without_an_outline_are_all_that_detect_needs(tmp_path):
    source = written(tmp_path, [None] * 12)
    summary = import_coco(source, tmp_path / "images", tmp_path / "out")
    assert (summary.boxes, summary.bare, summary.skipped) == (12, 0, ())


@pytest.mark.parametrize("box", [(4, 3, 0, 0), (0, 0, 0, 0), (4, 3, -20, 15)])
def test_a_box_without_area_is_taken_from_the_outline(box, tmp_path):
    summary = import_coco(written(tmp_path, [], box=box), tmp_path / "images", tmp_path / "out")
    assert (summary.boxes, summary.repairs["boxes taken from outlines"]) == (12, 12)


def test_an_outline_of_points_is_one(tmp_path):
    points = [[4, 3], [24, 3], [24, 18], [4, 18]]
    source = written(tmp_path, [points])
    summary = import_coco(source, tmp_path / "images", tmp_path / "out", task="segment")
    label = next((tmp_path / "out").rglob("0.txt")).read_text().split()
    assert summary.bare == 0
    assert list(map(float, label[1:3])) == pytest.approx([0.1, 0.1], abs=1e-6)
