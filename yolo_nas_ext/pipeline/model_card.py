"""The card of a found network: markdown beside its YAML, as model hubs show it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from yolo_nas_ext.config.settings import repeating
from yolo_nas_ext.console import clean, number
from yolo_nas_ext.network.blocks import BLOCKS
from yolo_nas_ext.network.emit import blocks_of
from yolo_nas_ext.pipeline.state import Job
from yolo_nas_ext.study.trial import Trial

# What hubs call a task.
TAGS = {
    "detect": "object-detection",
    "obb": "object-detection",
    "segment": "image-segmentation",
    "semantic": "image-segmentation",
    "classify": "image-classification",
    "pose": "keypoint-detection",
}
SHOWN = 20  # names of classes


def card(job: Job, trial: Trial, file: Path, notes: Sequence[str], weights: bool) -> str:
    """Return the card of a network.

    Args:
        job: The search.
        trial: The trial of the network.
        file: Its YAML, which the card stands beside.
        notes: What is known of it, as in the YAML's header.
        weights: Whether trained weights of it stand there, too.
    """
    config, data, network = job.config, job.data, trial.network
    size = network.imgsz or config.imgsz
    plugin = network.timm or any(BLOCKS[block.kind].plugin for block in blocks_of(network))
    names = [code(name) for name in [*data.names.values()][:SHOWN]]
    more = f" and {data.nc - SHOWN} more" if data.nc > SHOWN else ""
    model = file.with_suffix(".pt").name if weights else file.name
    needs = "needs `pip install yolo-nas-ext`" if plugin else "needs no plugin"
    then = "val" if weights else "train"
    lines = [
        "---",
        "library_name: ultralytics",
        "license: agpl-3.0",
        f"pipeline_tag: {TAGS[config.task]}",
        "tags: [ultralytics, yolo, neural-architecture-search, yolo-nas-ext]",
        "---",
        "",
        f"# nas-{network.key}",
        "",
        f"A network of Ultralytics YOLO for `task={config.task}`, found by yolo_nas_ext; {needs}.",
        "",
        *(f"- {clean(' '.join(note.split()))}" for note in notes),
        "",
        "## Use",
        "",
        "```python",
        "from ultralytics import YOLO",
        "",
        f'YOLO("{model}", task="{config.task}").{then}(data="my.yaml", imgsz={size})',
        "```",
        "",
        *(() if weights else ("There are no trained weights: the YAML is to be trained.", "")),
        "## Data",
        "",
        f"{code(Path(data.source).name)}: {len(data.images)} training images of {data.channels} "
        f"channels, {data.nc} classes ({', '.join(names)}{more}).",
        "",
        "## Figures",
        "",
        "Of the search, on a part of the training images that no candidate was trained on. What",
        "began with `trained_` is of the training that confirmed the network.",
        "",
        "| figure | value |",
        "|---|---|",
        *(f"| {code(name)} | {value} |" for name, value in _figures(job, trial).items()),
        "",
        "## How it was found",
        "",
        "```sh",
        clean(repeating(config)),
        "```",
        "",
        "## Limits",
        "",
        "The figures are of these images, this image size and this device. A network that was",
        "chosen for its figures looks better by them than it is. The final comparison on `val` is",
        "the fair one: `verdict.md` beside the report has it, where one was held.",
    ]
    return "\n".join(lines) + "\n"


def code(name: object) -> str:
    """Return a text of somebody else's as code, in which nothing is obeyed, on one line."""
    said = clean(" ".join(str(name).split())).replace("`", "'").replace("|", "/")
    return f"`{said}`"


def _figures(job: Job, trial: Trial) -> dict[str, str]:
    """Return what was measured and counted, with finite values."""
    measured = job.study.measure.restated(trial).metrics
    found = {**measured, **{name: v for name, v in trial.cost.items() if name not in measured}}
    finite = [(name, v) for name, v in found.items() if math.isfinite(v)]
    whole = {name: f"{v:,.0f}" for name, v in finite if v >= 1000 or v == round(v)}
    return {name: whole.get(name) or number(v) for name, v in finite}
