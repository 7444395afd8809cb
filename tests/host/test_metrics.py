"""Metrics of a training."""

import numpy as np
import pytest
from ultralytics.utils.metrics import DetMetrics

from yolo_nas_ext.host.metrics import fitness_without


def measured(images):
    """Ultralytics' metrics of random detections of so many images with three objects each."""
    metrics = DetMetrics({0: "a", 1: "b"})
    for image in images:
        own = np.random.default_rng(image)
        found = {
            "tp": own.random((9, 10)) < 0.5,
            "conf": own.random(9),
            "pred_cls": own.integers(0, 2, 9),
            "target_cls": own.integers(0, 2, 3),
            "target_img": own.integers(0, 2, 1),
        }
        metrics.update_stats({**found, "im_name": str(image)})
    return metrics


def test_fitness_without_a_part_is_that_of_the_other_images():
    parts = [0, 1, 2, 0, 1, 2, 0]
    whole = measured(range(7))
    found = fitness_without(whole, parts)
    for part, value in enumerate(found):
        other = measured([image for image, of in enumerate(parts) if of != part])
        other.process()
        assert value == pytest.approx(float(other.fitness)) and value > 0
    assert len({*found}) == 3
    whole.process()  # has everything as it was
    again = measured(range(7))
    again.process()
    assert float(whole.fitness) == float(again.fitness)
