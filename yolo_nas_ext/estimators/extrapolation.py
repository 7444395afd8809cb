"""What a short training foretells of a full one: larger networks are further from their end.

After a few epochs all networks have learned little, and a small one the largest part of what it
ever will; ordered by what they have learned, large networks come too late. Over the reference sets
(benchmarks/reference.py) neither the short training nor the number of operations orders networks as
well as their product.
"""

from __future__ import annotations

from dataclasses import replace

from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.network.architecture import Architecture

# Fitted to one reference set and checked on the other, see docs/evidence.md#estimators.
POWER = 0.5
LEAST = 0.03  # about what a network has learned after a few epochs: below it operations decide
LARGEST = 1.5  # times YOLOv8n's FLOPs: no network of the reference sets is larger
YOLOV8N = 20_000  # FLOPs a pixel of YOLOv8n, whose fitness stays nearly as it is
RANK = (
    f"what the short training foretells of a full one: (mAP50-95 + {LEAST:g}) x "
    f"(FLOPs / YOLOv8n's, at most {LARGEST:g})^{POWER:g}"
)


def projected(fitness: float, architecture: Architecture, nc: int, imgsz: int) -> float:
    """Return the fitness that a short training of a detector foretells, in units of YOLOv8n's.

    Beyond `LARGEST` further operations are no longer credited in advance: what they are worth there
    is not known, and without a budget the largest network would win by its size.

    Of an end-to-end head the branch that is used is counted, not the second one that only trains:
    what goes when the network is deployed foretells nothing.

    Args:
        fitness: Measured after the short training, mAP50-95.
        architecture: What was trained.
        nc: Number of classes.
        imgsz: Height and width of the search's images in pixels. A network with a size of its own
            is counted at that, so that larger images are credited as a larger network is.
    """
    used = replace(architecture, head=replace(architecture.head, end2end=False))
    return by_flops(fitness, costs(used, nc, architecture.imgsz or imgsz).flops, imgsz)


def by_flops(fitness: float, flops: float, imgsz: int) -> float:
    """Return the same of a network whose FLOPs are known; see `projected`."""
    ratio = min(flops / (YOLOV8N * imgsz * imgsz), LARGEST)
    return (fitness + LEAST) * ratio**POWER
