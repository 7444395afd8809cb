"""`yolo nas-scale`: a family of larger networks out of one, under budgets of FLOPs."""

from __future__ import annotations

import contextlib
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from yolo_nas_ext.config.names import metric_name
from yolo_nas_ext.config.rules import check
from yolo_nas_ext.config.scale import LETTERS, ScaleSettings
from yolo_nas_ext.config.settings import read as read_settings
from yolo_nas_ext.console import aligned, number, quoted, say, short
from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.data.scans import recipe
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.estimators.zero_cost.entropy import deepmad, madnas
from yolo_nas_ext.files import write_text
from yolo_nas_ext.network import scaling
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.emit import to_yaml
from yolo_nas_ext.network.parse import classes_of, read
from yolo_nas_ext.network.scaling import Coefficients

SHORTEST = 1.1  # times the model's own FLOPs that a family member has at least
TASKS = {
    "Detect": "detect",
    "Segment": "segment",
    "OBB": "obb",
    "Pose": "pose",
    "Classify": "classify",
    "SemanticSegment": "semantic",
}


def main(given: Mapping[str, Any]) -> int:
    """Write the family of ``nas-scale`` and print its table; returns the exit code.

    Raises:
        NASError: For an unknown key, a bad value, or a model that cannot be read or scaled.
    """
    settings = read_settings(ScaleSettings, given)
    check(settings)
    with contextlib.redirect_stdout(sys.stderr):  # Ultralytics greets when it loads first
        base, nc, task, source = _model(settings)

    def flops(network: Architecture) -> int:
        return costs(network, nc, network.imgsz, task=task).flops

    budgets = _budgets(settings.flops, flops(base))
    out = Path(settings.out or Path("runs") / "nas" / f"family-{base.key}")
    if out.exists():
        raise NASError(f"out={out}: exists; give a new folder")
    by, how, notes = _coefficients(base, budgets[0], flops, settings, task)
    family = [("n", base)]
    for letter, budget in zip(LETTERS, budgets, strict=False):
        phi = scaling.steps(budget / flops(base), budgets[0] / flops(base))
        family.append((letter, scaling.grown(base, by, phi, budget, flops)))
    out.mkdir(parents=True)
    rows = [["network", "depth", "width", "px", "parameters", "FLOPs", "times"]]
    for letter, network in family:
        # Ultralytics takes stems such as yolo11s for others of its models: no name of the user's.
        path = out / f"nas-{base.key}-{letter}.yaml"
        cost = costs(network, nc, network.imgsz, task=task)
        note = [
            f"{letter} of a family by compound scaling of nas-{base.key}: {_said(by)} a step",
            f"{cost.params:,} parameters, {cost.flops / 1e9:.3f} GFLOPs at {network.imgsz} px",
            how,
        ]
        write_text(path, to_yaml(network, nc, task, note))
        if source:
            notes.append(f"{path.with_suffix('.pt').name}: {_carried(network, source, path)}")
        depth, width = _depth(network) / _depth(base), _width(network) / _width(base)
        rows.append(
            [
                path.name,
                f"{depth:.2f}",
                f"{width:.2f}",
                str(network.imgsz),
                short(cost.params),
                short(cost.flops),
                f"{cost.flops / flops(base):.2f}",
            ]
        )
    for line in notes:
        say(line)
    say(aligned(rows))
    say(f"a step is {_said(by)}, {how}")
    data, last = settings.data or "my.yaml", family[1][1].imgsz
    model = (out / rows[2][0]).with_suffix(".pt" if source else ".yaml")
    say(f"next:\n  yolo {task} train model={quoted(model)} data={quoted(data)} imgsz={last}")
    return 0


def _model(settings: ScaleSettings) -> tuple[Architecture, int, str, Any]:
    """Return the network with its image size, its classes, its task and its weights, if any."""
    from yolo_nas_ext.host import models  # loads torch and Ultralytics

    name = settings.model
    if name.endswith(".pt"):
        return _trained(settings)
    definition, scale = models.definition(name, key="model")
    try:
        base = read(definition, scale)
    except NASError as error:
        reason = str(error).removeprefix("model definition: ")
        raise NASError(f"model={name}: cannot be read ({reason})") from error
    if base.timm:
        raise NASError(
            f"model={name}: its backbone is timm's {base.timm.name}, which cannot be made deeper "
            "or wider; give a model of the blocks of Ultralytics"
        )
    task = TASKS[re.sub(r"\d+$", "", definition["head"][-1][2])]
    imgsz = settings.imgsz or base.imgsz or 640
    nc = settings.nc or classes_of(definition)
    return replace(base, imgsz=imgsz), nc, task, None


def _trained(settings: ScaleSettings) -> tuple[Architecture, int, str, Any]:
    """Return the network of a checkpoint as `_model` does."""
    from yolo_nas_ext.host.transfer.convolutions import task_of
    from yolo_nas_ext.host.transfer.weights import load

    source = load(settings.model, "model")
    task = task_of(source.model)
    if settings.nc not in (None, task.nc):
        raise NASError(
            f"nc={settings.nc}: {settings.model} has {task.nc} classes, which its family takes "
            "over; leave nc out, and train the family on your data"
        )
    imgsz = settings.imgsz or source.architecture.imgsz or 640
    return replace(source.architecture, imgsz=imgsz), task.nc, task.name, source


def _carried(network: Architecture, source: Any, path: Path) -> str:
    """Write a member of the family with the weights of the smallest; return what it took."""
    from yolo_nas_ext.host import restricted
    from yolo_nas_ext.host.training import checkpoint
    from yolo_nas_ext.host.transfer.convolutions import task_of
    from yolo_nas_ext.host.transfer.weights import transfer, unset

    task, names = task_of(source.model), source.model.names
    channels = next(p for p in source.model.parameters() if p.ndim == 4).shape[1]
    model = unset(network, task, channels)
    model.names = dict(names)
    taken = transfer(model, network, source, names)
    given = {"task": task.name, "imgsz": network.imgsz}
    scans = restricted.content(source.name, "model").get(recipe.KEY)
    checkpoint.save(model, path.with_suffix(".pt"), args=given, metrics={}, scans=scans)
    return taken.summary


def _budgets(given: Sequence[tuple[float, bool]], own: int) -> list[float]:
    """Return the budgets in FLOPs, ascending."""
    found = sorted(number * own if times else number for number, times in given)
    if found[0] < SHORTEST * own:
        raise NASError(
            f"flops: {short(found[0])} is less than {SHORTEST} times the model's own "
            f"{short(own)}FLOPs; a family grows, give 2x or more"
        )
    return found


def _coefficients(
    base: Architecture, budget: float, flops: scaling.Flops, settings: ScaleSettings, task: str
) -> tuple[Coefficients, str, list[str]]:
    """Return the coefficients of a step, how they were chosen, and what to say of it."""
    reach = budget / flops(base)
    grid = sorted({round(value ** math.log2(max(reach, 2)), 3) for value in scaling.GRID})
    found = scaling.fits(base, budget, flops, grid)
    if not found:
        raise NASError(
            f"flops: no network on the grid has {scaling.LEAST:.0%} to 100 % of "
            f"{short(budget)}FLOPs; widths go in steps of 8 and sizes in steps of 32, so give "
            "a larger first budget"
        )
    ranked = sorted(found, key=lambda network: (-_score(network), network.key))
    how = f"the best of {len(found)} networks on the grid by DeepMAD's score, without training"
    if not settings.data:
        return found[ranked[0]], how, []
    return _by_training(ranked[: settings.tries], found, settings, task)


def _score(network: Architecture) -> float:
    """Return DeepMAD's score, which looks at resolutions, or MadNAS's below all of those."""
    value = deepmad(network, network.imgsz)
    return value if math.isfinite(value) else madnas(network) - 1e6


def _by_training(
    networks: Sequence[Architecture],
    found: Mapping[Architecture, Coefficients],
    settings: ScaleSettings,
    task: str,
) -> tuple[Coefficients, str, list[str]]:
    """Choose between some networks by short trainings, each at its own image size."""
    from yolo_nas_ext.estimators.training import ShortTraining
    from yolo_nas_ext.host import dataset

    names = ("epochs", "batch", "seed", "device")
    training = ShortTraining(
        dataset.read(settings.data, task), task=task, **{n: getattr(settings, n) for n in names}
    )
    fitness: dict[Architecture, float] = {}
    lines, name = [], metric_name(task, "host")
    for network in networks:
        try:
            fitness[network] = training.estimate(network)["fitness"]
            lines.append(f"{_said(found[network])}: {name} {number(fitness[network])}")
        except TrialError as error:
            lines.append(f"{_said(found[network])}: failed ({error})")
    if not fitness:
        raise NASError(f"data={settings.data}: every training failed: {lines[-1]}")
    best = max(fitness, key=lambda network: fitness[network])
    how = (
        f"the best of {len(fitness)} by a training of {settings.epochs} epochs on the part of "
        "train that is not held out"
    )
    return found[best], how, lines


def _said(by: Coefficients) -> str:
    return f"depth x {by.depth:g}, width x {by.width:g}, resolution x {by.resolution:g}"


def _depth(network: Architecture) -> int:
    return sum(block.depth for block in network.backbone)


def _width(network: Architecture) -> int:
    return sum(block.width for block in network.backbone)
