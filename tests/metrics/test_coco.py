import json

import numpy as np
import pytest

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.metrics.coco import NAMES, numbers


@pytest.fixture
def annotations(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for image in range(1, 7):
        for place in range(3):
            x, y = 160.0 * place, float(rng.uniform(0, 300))
            side = float(rng.choice([20, 60, 100]))
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": image,
                    "category_id": 7,
                    "iscrowd": 0,
                    "bbox": [x, y, side, side],
                    "area": side * side,
                }
            )
    file = tmp_path / "instances.json"
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 500, "height": 500} for i in range(1, 7)]
    file.write_text(
        json.dumps({"images": images, "annotations": rows, "categories": [{"id": 7, "name": "a"}]})
    )
    return file


def detections(annotations, shift=0.0):
    rows = json.loads(annotations.read_text())["annotations"]
    return [
        {
            "image_id": r["image_id"],
            "category_id": 7,
            "score": 0.9 - 0.01 * i,
            "bbox": [r["bbox"][0] + shift * r["bbox"][2], *r["bbox"][1:]],
        }
        for i, r in enumerate(rows)
    ]


def test_perfect_shifted_and_no_detections(annotations, tmp_path):
    perfect = numbers(annotations, detections(annotations))
    assert list(perfect) == list(NAMES) and perfect["AP"] == pytest.approx(1)
    assert perfect["AR1"] < perfect["AR10"] == perfect["AR100"] == pytest.approx(1)
    # A quarter of a side off, two boxes share 3/5: a hit up to an IoU of 0.6, three of ten.
    shifted = numbers(annotations, detections(annotations, 0.249))
    assert shifted["AP50"] == pytest.approx(1) and shifted["AP75"] == 0
    assert shifted["AP"] == pytest.approx(0.3, abs=1e-6)
    assert set(numbers(annotations, []).values()) == {0.0}
    file = tmp_path / "predictions.json"
    file.write_text(json.dumps(detections(annotations)))
    assert numbers(annotations, file) == perfect
    assert numbers(annotations, detections(annotations), images=[1, 2])["AP"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 99}, "image_id=99 is not in"),
        ({"category_id": 1}, "category_id=1 is not in"),
        ({"score": None}, None),
    ],
)
def test_detections_of_another_file(change, message, annotations):
    rows = detections(annotations)
    rows[2].update(change)
    if message is None:
        del rows[2]["score"]
        message = r"detections\[2\] lacks 'score'"
    with pytest.raises(NASError, match=message):
        numbers(annotations, rows)
    with pytest.raises(NASError, match="kind=keypoints"):
        numbers(annotations, detections(annotations), kind="keypoints")
