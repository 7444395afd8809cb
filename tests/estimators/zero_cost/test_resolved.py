"""The score `resolved`, against operations counted by hand."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from yolo_nas_ext.cost.latency.features import work
from yolo_nas_ext.cost.latency.fused_layers import deployed
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.zero_cost.resolved import CELLS, Resolved, resolved, side_of
from yolo_nas_ext.files import resource
from yolo_nas_ext.host import models
from yolo_nas_ext.host.dataset import DataSet
from yolo_nas_ext.network.parse import read as architecture_of
from yolo_nas_ext.pipeline import job
from yolo_nas_ext.space.detector import DetectorSpace

YOLO = architecture_of(*models.definition("yolo11n"))


def by_stride(imgsz: int) -> dict[int, float]:
    """Return YOLO11n's multiply-adds of convolutions by stride."""
    found: dict[int, float] = {}
    for op in deployed(YOLO, 80, imgsz):
        if op.kind == "conv":
            found[imgsz // op.h] = found.get(imgsz // op.h, 0.0) + work(op)
    return found


def test_large_objects_make_every_operation_count() -> None:
    assert resolved(YOLO, 1.0, imgsz=640) == pytest.approx(sum(by_stride(640).values()))


def test_coarse_grids_count_by_the_cells_of_an_object() -> None:
    # Objects of 32 px have 4 cells at stride 16, one at 32, and more than four at finer ones.
    strides = by_stride(640)
    assert set(strides) == {2, 4, 8, 16, 32}
    expected = sum(strides[s] for s in (2, 4, 8, 16)) + strides[32] / CELLS
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
    assert side_of(data) == pytest.approx(sum(half) / 2, abs=1e-3)


def test_a_wide_image_is_padded(data: DataSet) -> None:
    label = {"bboxes": np.array([[0.5, 0.5, 0.1, 0.4]]), "shape": (100, 400)}
    assert side_of(replace(data, labels=(label,))) == pytest.approx(0.1)  # 40 x 40 px of 400


def test_boxes_without_an_area_are_no_objects(data: DataSet) -> None:
    flat = np.array([[0.5, 0.5, 0.0, 0.4], [0.5, 0.5, 0.3, 0.0], [0.5, 0.5, 0.2, 0.2]])
    assert side_of(replace(data, labels=({"bboxes": flat, "shape": (64, 64)},))) == pytest.approx(
        0.2
    )
    assert side_of(replace(data, labels=({"bboxes": flat[:2], "shape": (64, 64)},))) is None


def test_an_oriented_box_has_its_own_area(data: DataSet) -> None:
    thin = np.array([[0.2, 0.2], [0.8, 0.8], [0.78, 0.82], [0.18, 0.22]])  # 0.6 by 0.02, times 2
    label = {"bboxes": np.array([[0.49, 0.51, 0.62, 0.62]]), "segments": [thin], "shape": (64, 64)}
    turned = replace(data, task="obb", labels=(label,))
    assert side_of(turned) == pytest.approx((0.6 * 0.02 * 2) ** 0.5)


def test_backbones_of_timm_count_too(tmp_path: Path) -> None:
    content = yaml.safe_load(resource("cfg", "spaces", "timm.yaml").read_text(encoding="utf-8"))
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump({**content, "backbone": ["own", {"timm": "convnext_atto"}]}))
    space, rng = DetectorSpace.load(path), random.Random(0)
    drawn = (space.architecture(space.sample(rng)) for _ in range(50))
    architecture = next(architecture for architecture in drawn if architecture.timm)
    with pytest.raises(NASError, match="time cannot be predicted"):
        deployed(architecture, 80, 64)
    assert 0 < resolved(architecture, 0.1, imgsz=64) < resolved(architecture, 1.0, imgsz=64)


def test_what_has_no_boxes_is_refused(data: DataSet) -> None:
    classes = replace(data, task="classify")
    assert side_of(classes) is None and side_of(replace(data, labels=())) is None
    with pytest.raises(NASError, match=r"estimator=resolved: .* has no boxes of task=classify"):
        Resolved(classes)


@pytest.mark.parametrize(
    "more",
    [
        {"strategy": "bayes"},
        pytest.param({"screen": "resolved:8"}, marks=pytest.mark.slow),
        # Two processes of another estimator that trains nothing are a test of scenarios.
        pytest.param({"jobs": 2}, marks=pytest.mark.slow),
    ],
)
def test_a_search_by_it(more: dict[str, Any], tmp_path: Path, data: DataSet) -> None:
    given = {
        "data": data.source,
        "estimator": "resolved",
        "space": "tiny",
        "sizes": "64,96",
        "imgsz": 64,
        "trials": 12,
        "confirm": 0,
        "max_flops": "100M",
        "project": str(tmp_path),
        **more,
    }
    done = job.search(given)
    assert len(done.study.trials) >= 12
    assert {trial.network.imgsz for trial in done.study.trials} >= {64, 96}
    for trial in done.study.trials:
        value = resolved(trial.network, side_of(data) or 0.0, data.nc, 64)
        assert trial.metrics["fitness"] == pytest.approx(math.log(value))
