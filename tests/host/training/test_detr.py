"""RT-DETR: trained by Ultralytics' own trainer of it, on the images of the search."""

import math

import cv2
import numpy as np
import pytest
from ultralytics import RTDETR
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import RTDETRDetectionModel

from tests.helpers.detr import SMALL
from tests.helpers.trained import train
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host import models
from yolo_nas_ext.host.training.image_cache import HeldImages, StretchedImages, forget
from yolo_nas_ext.host.training.lean import LeanRTDETRTrainer, trainer_of
from yolo_nas_ext.host.transfer import parents


def test_it_is_trained_measured_and_saved(data, tmp_path):
    metrics = train(SMALL, data, weights=tmp_path / "detr.pt").metrics
    assert {"fitness", "map50_95", "loss_giou", "loss_l1"} <= metrics.keys()
    assert all(map(math.isfinite, metrics.values()))
    assert RTDETR(tmp_path / "detr.pt").names == dict(data.names)
    again = parents.load(tmp_path / "detr.pt", "baseline")
    assert again.task == "detect" and "RTDETRDecoder" in again.unread
    assert again.yaml["head"] == SMALL["head"]


def test_its_class_is_told_by_its_head():
    assert models.task_of(SMALL) == "detect"
    assert type(models.build(SMALL, task="detect")) is RTDETRDetectionModel
    assert trainer_of("detect", SMALL) is LeanRTDETRTrainer
    assert trainer_of("segment", {"head": [[-1, 1, "Segment", []]]}) is not LeanRTDETRTrainer
    with pytest.raises(NASError, match="Did you mean 'detect'"):
        trainer_of("detekt", SMALL)


def test_its_images_fill_the_square_and_boxes_go_with_them(data, tmp_path):
    """A picture twice as wide as high, once as other networks see it and once stretched."""
    file = tmp_path / "wide.png"
    cv2.imwrite(str(file), np.full((40, 80, 3), 200, np.uint8))
    label = {**data.labels[0], "im_file": str(file), "shape": (40, 80)}
    more = {"imgsz": 64, "augment": False, "hyp": get_cfg(), "rect": False, "pad": 0.0}
    more |= {"data": {**data.data, "names": dict(data.names), "nc": 2, "channels": 3}}
    more |= {"task": "detect", "batch_size": 1, "stride": 32}
    plain, stretched = (kind([label], {}, **more)[0] for kind in (HeldImages, StretchedImages))
    assert plain["img"].shape == stretched["img"].shape == (3, 64, 64)
    assert (plain["img"][:, 0] == 114).all() and (stretched["img"] == 200).all()
    assert stretched["ratio_pad"][0] == (64 / 40, 64 / 80)
    forget()
