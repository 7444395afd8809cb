"""The score `resolved`, against operations counted by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.host.shapes import draw
from yolo_nas_ext import job, loop
from yolo_nas_ext.cost.deployed import deployed
from yolo_nas_ext.cost.features import work
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.resolved import RESOLVED, Resolved, resolved, side
from yolo_nas_ext.host import models
from yolo_nas_ext.host.dataset import DataSet, read
from yolo_nas_ext.space.emit import read as architecture_of

YOLO = architecture_of(*models.definition("yolo11n"))


def by_stride(imgsz: int) -> dict[int, float]:
    """Return YOLO11n's multiply-adds of convolutions by stride."""
    found: dict[int, float] = {}
    for op in deployed(YOLO, 80, imgsz):
        if op.kind == "conv":
            found[imgsz // op.h] = found.get(imgsz // op.h, 0.0) + work(op)
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    return read(draw(tmp_path_factory.mktemp("shapes")))


def test_large_objects_make_every_operation_count() -> None:
    assert resolved(YOLO, 1.0, imgsz=640) == pytest.approx(sum(by_stride(640).values()))


def test_coarse_grids_count_by_the_cells_of_an_object() -> None:
    # Objects of 32 px have 4 cells at stride 16, one at 32, and more than four at finer ones.
    strides = by_stride(640)
    assert set(strides) == {2, 4, 8, 16, 32}
    expected = sum(strides[s] for s in (2, 4, 8, 16)) + strides[32] / RESOLVED
    assert resolved(YOLO, 32 / 640, imgsz=640) == pytest.approx(expected)


def test_larger_images_resolve_more() -> None:
    # The same objects, with a quarter of the cells.
    small, large = (resolved(replace(YOLO, imgsz=size), 0.1, imgsz=64) for size in (128, 256))
    assert large > 4.2 * small


def test_the_median_object_has_a_side(data: DataSet) -> None:
    boxes = np.concatenate([label["bboxes"] for label in data.labels])
    areas = sorted((boxes[:, 2] * boxes[:, 3]).tolist())
    middle = len(areas) // 2
    half = areas[middle] ** 0.5, areas[~middle] ** 0.5
    assert side(data) == pytest.approx(sum(half) / 2, abs=1e-3)


def test_a_wide_image_is_padded(data: DataSet) -> None:
    label = {"bboxes": np.array([[0.5, 0.5, 0.1, 0.4]]), "shape": (100, 400)}
    assert side(replace(data, labels=(label,))) == pytest.approx(0.1)  # 40 x 40 px of 400


def test_what_has_no_boxes_is_refused(data: DataSet) -> None:
    classes = replace(data, task="classify")
    assert side(classes) is None and side(replace(data, labels=())) is None
    with pytest.raises(NASError, match=r"estimator=resolved: .* has no boxes of task=classify"):
        Resolved(classes)


def test_a_search_by_it(tmp_path: Path, data: DataSet) -> None:
    given = {"data": data.source, "estimator": "resolved", "space": "tiny", "imgsz": 64,
             "trials": 12, "strategy": "bayes", "confirm": 0, "max_flops": "100M",
             "project": str(tmp_path)}  # fmt: skip
    done = job.search(given, loop.run)
    assert len(done.study.trials) >= 12
    for trial in done.study.trials:
        value = resolved(trial.network, side(data) or 0.0, data.nc, 64)
        assert trial.metrics["fitness"] == pytest.approx(math.log(value))
