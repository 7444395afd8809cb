"""`yolo nas-scale`: a family of larger networks out of one, under budgets of FLOPs."""

from __future__ import annotations

import contextlib
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from yolo_nas_ext.config.fields import checked, size, text, whole
from yolo_nas_ext.console import aligned, short
from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.estimators.zero_cost.entropy import deepmad, madnas
from yolo_nas_ext.network import scaling
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.emit import to_yaml
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.network.scaling import Coefficients

HELP = """yolo nas-scale model=best.yaml flops=2x,4x,8x [imgsz=640] [nc=80] [out=runs/nas/family]
               [data=my.yaml] [tries=4] [epochs=6] [batch=8] [device=cpu] [seed=0]

A family n, s, m, ... of larger networks out of one (EfficientNet's compound scaling): how much
deeper, wider and for how much larger images is found on a grid for the smallest of flops, and the
larger networks take powers of it. flops are times the model's own, as 2x, or numbers as 12G.
imgsz is the size that the model is meant for, nc its number of classes; its own where it names
them. Of the networks on the grid within the budget, DeepMAD's score of the untrained network
chooses; with data=, short trainings (epochs, batch, device, seed as of nas-search) choose between
the tries best of them. out is a new folder; the YAMLs in it need nothing but the host."""

LETTERS = "smlx"
SHORTEST = 1.1  # times the model's own FLOPs that a family member has at least


def factors(value: Any) -> tuple[tuple[float, bool], ...]:
    """Accept budgets, ``2x,4x`` or ``12G``: (number, whether it is times the model's own)."""
    found = []
    for part in value if isinstance(value, list) else str(value).split(","):
        match = re.fullmatch(r"\s*([0-9.]+)\s*([xKMGT])\s*", str(part), re.IGNORECASE)
        if not match or match[1].count(".") > 1:
            raise ValueError("budgets such as 2x,4x,8x or 12G,24G")
        unit = {"x": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}[match[2].lower()]
        found.append((float(match[1]) * unit, match[2].lower() == "x"))
    if not 1 <= len(found) <= len(LETTERS):
        raise ValueError(f"1 to {len(LETTERS)} budgets such as 2x,4x,8x or 12G,24G")
    return tuple(found)


KEYS: dict[str, Callable[[Any], Any]] = {
    "model": text,
    "flops": factors,
    "imgsz": size,
    "nc": whole(1),
    "out": text,
    "data": text,
    "tries": whole(1),
    "epochs": whole(1),
    "batch": whole(1),
    "device": text,
    "seed": whole(0),
}
USUAL = {
    "flops": factors("2x,4x,8x"),
    "imgsz": None,
    "nc": None,
    "out": None,
    "data": None,
    "tries": 4,
    "epochs": 6,
    "batch": 8,
    "device": None,
    "seed": 0,
}
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
    settings = checked(given, KEYS, USUAL)
    if not settings.get("model"):
        raise NASError("model is missing; give a YAML, or a name such as yolo11n")
    with contextlib.redirect_stdout(sys.stderr):  # the host greets when it loads first
        base, nc, task = _model(settings)

    def flops(network: Architecture) -> int:
        return costs(network, nc, network.imgsz, task=task).flops

    budgets = _budgets(settings["flops"], flops(base))
    out = Path(settings["out"] or Path("runs") / "nas" / f"family-{base.key}")
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
        # The host takes stems such as yolo11s for others of its models: no name of the user's.
        path = out / f"nas-{base.key}-{letter}.yaml"
        cost = costs(network, nc, network.imgsz, task=task)
        note = [
            f"{letter} of a family by compound scaling of nas-{base.key}: {_said(by)} a step",
            f"{cost.params:,} parameters, {cost.flops / 1e9:.3f} GFLOPs at {network.imgsz} px",
            how,
        ]
        path.write_text(to_yaml(network, nc, task, note), encoding="utf-8")
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
        print(line)
    print(aligned(rows))
    print(f"a step is {_said(by)}, {how}")
    data, last = settings["data"] or "my.yaml", family[1][1].imgsz
    print(f"next:\n  yolo {task} train model={out / rows[2][0]} data={data} imgsz={last}")
    return 0


def _model(settings: Mapping[str, Any]) -> tuple[Architecture, int, str]:
    """Return the network with its image size, its classes and its task."""
    from yolo_nas_ext.host import models  # loads torch and the host

    name = settings["model"]
    definition, scale = models.definition(name, key="model")
    try:
        base = read(definition, scale)
    except NASError as error:
        reason = str(error).removeprefix("model definition: ")
        raise NASError(f"model={name}: cannot be read ({reason})") from error
    if base.timm:
        raise NASError(
            f"model={name}: its backbone is timm's {base.timm.name}, which cannot be made deeper "
            "or wider; give a model of the host's blocks"
        )
    task = TASKS[re.sub(r"\d+$", "", definition["head"][-1][2])]
    imgsz = settings["imgsz"] or base.imgsz or 640
    return replace(base, imgsz=imgsz), settings["nc"] or int(definition.get("nc") or 80), task


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
    base: Architecture, budget: float, flops: scaling.Flops, settings: Mapping[str, Any], task: str
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
    if not settings["data"]:
        return found[ranked[0]], how, []
    return _trained(ranked[: settings["tries"]], found, settings, task)


def _score(network: Architecture) -> float:
    """Return DeepMAD's score, which looks at resolutions, or MadNAS's below all of those."""
    value = deepmad(network, network.imgsz)
    return value if math.isfinite(value) else madnas(network) - 1e6


def _trained(
    networks: Sequence[Architecture],
    found: Mapping[Architecture, Coefficients],
    settings: Mapping[str, Any],
    task: str,
) -> tuple[Coefficients, str, list[str]]:
    """Choose between some networks by short trainings, each at its own image size."""
    from yolo_nas_ext.estimators.training import ShortTraining
    from yolo_nas_ext.host import dataset

    names = ("epochs", "batch", "seed", "device")
    training = ShortTraining(
        dataset.read(settings["data"], task), task=task, **{n: settings[n] for n in names}
    )
    fitness: dict[Architecture, float] = {}
    lines = []
    for network in networks:
        try:
            fitness[network] = training.estimate(network)["fitness"]
            lines.append(f"{_said(found[network])}: fitness {fitness[network]:.4f}")
        except TrialError as error:
            lines.append(f"{_said(found[network])}: failed ({error})")
    if not fitness:
        raise NASError(f"data={settings['data']}: every training failed: {lines[-1]}")
    best = max(fitness, key=lambda network: fitness[network])
    how = (
        f"the best of {len(fitness)} by a training of {settings['epochs']} epochs on the part of "
        "train that is not held out"
    )
    return found[best], how, lines


def _said(by: Coefficients) -> str:
    return f"depth x {by.depth:g}, width x {by.width:g}, resolution x {by.resolution:g}"


def _depth(network: Architecture) -> int:
    return sum(block.depth for block in network.backbone)


def _width(network: Architecture) -> int:
    return sum(block.width for block in network.backbone)
