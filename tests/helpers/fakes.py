"""Records of searches that never ran; the fitness is invented."""

from __future__ import annotations

import math
import random
from typing import Any

from yolo_nas_ext import report
from yolo_nas_ext.compare import outputs as comparison_outputs
from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

HOSTILE = "<script>alert(1)</script>\"'&"


def without_pictures(monkeypatch: Any) -> None:
    """Leave empty files where a run draws its pictures, which take longer than all else of it."""
    pictures = ((comparison_outputs, "comparison_png"), (report, "pareto_png"))
    for module, name in (*pictures, (report, "progress_png")):
        monkeypatch.setattr(module, name, lambda what, path, *_: path.write_bytes(b""))


def cost_of(architecture: Architecture) -> dict[str, float]:
    found = costs(architecture, 3, 320)
    return {
        "params": found.params,
        "flops": found.flops,
        "memory_bytes": found.memory,
        "layers": found.layers,
    }


def record(study: Study, trial: Trial) -> None:
    study.start(trial)
    study.finish(trial)


def add(study: Study, fitness: float | None, **more: object) -> Trial:
    """Record a trial of a sample, or of what is given; failed without a fitness."""
    number = len(study.trials)
    fields = {"point": study.space.sample(random.Random(number))} | more
    if isinstance(study.space, DetectorSpace) and "architecture" not in fields:
        fields["architecture"] = study.space.architecture(fields["point"])
    if fields.get("architecture") is not None and "cost" not in fields:
        fields["cost"] = cost_of(fields["architecture"])
    metrics = {} if fitness is None else {"fitness": fitness}
    state = "failed" if fitness is None else "complete"
    trial = Trial(**({"number": number, "state": state, "metrics": metrics} | fields))
    record(study, trial)
    return trial


def baselines() -> dict[str, Architecture]:
    from ultralytics.nn.tasks import yaml_model_load

    names = ("yolov8n", "yolo11n", "yolo26n")
    return {name: read(yaml_model_load(f"{name}.yaml"), "n") for name in names}


def detectors(trials: int = 40, seed: int = 0, *, lift: float = 0.0) -> Study:
    """A search that gets better, beside three baselines; every ninth trial fails."""
    rng = random.Random(seed)
    space = DetectorSpace.load("tiny")
    study = Study(space)
    for name, architecture in baselines().items():
        try:
            point = space.point_of(architecture)
        except NASError:
            point = None
        evaluated(study, architecture, rng, 0.0, point=point, name=name)
    for number in range(3, trials):
        point = space.sample(random.Random(f"{seed}/{number}"))
        if number % 9 == 8:
            error = ["nan: fitness is nan", "memory: out of memory", "timeout: 600 s"][number % 3]
            add(study, None, point=point, error=error, seconds=3.0)
        else:
            gain = lift + 0.05 * (1 - math.exp(-number / 12))
            evaluated(study, space.architecture(point), rng, gain, point=point)
    return study


def evaluated(
    study: Study, architecture: Architecture, rng: random.Random, gain: float, **more: object
) -> None:
    cost = cost_of(architecture)
    fitness = 0.045 * math.log(cost["flops"] / 1e7) + 0.2 + gain + rng.gauss(0, 0.012)
    metrics = {
        "fitness": fitness,
        "map50_95": fitness,
        "map50": 1.5 * fitness,
        "precision": 0.7 + rng.gauss(0, 0.02),
        "recall": 0.6 + rng.gauss(0, 0.02),
        "loss_box": 1.3 - fitness,
        "params_m": cost["params"] / 1e6,
        "flops_g": cost["flops"] / 1e9,
    }
    add(
        study,
        fitness,
        architecture=architecture,
        cost=cost,
        metrics=metrics,
        seconds=60 + cost["flops"] / 1e7 + rng.random() * 20,
        fidelity={"epochs": 10, "imgsz": 320},
        **more,
    )


def table(trials: int = 20) -> Study:
    """A search of a space without networks or costs."""
    space = ChoiceSpace({"a": (1, 2, 3), "b": ("x", "=1+1"), "fixed": (7,), "odd": ((1, 2), "-3")})
    study = Study(space)
    for number in range(trials):
        point = space.sample(random.Random(number))
        add(study, point["a"] / 4 + number / 100, point=point, seconds=0.001)
    return study


class Doubled:
    """A task of `data.scans.workers`."""

    bytes = 1

    def __init__(self, number: int) -> None:
        self.number = number

    def run(self) -> int:
        return 2 * self.number
