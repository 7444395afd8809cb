"""The measured latency of compared models: all in turns, once, and kept beside the trainings.

A ratio of latencies is worth something where both models took turns on the same machine. So what
was measured together is kept together. All of it is measured again when a model has joined, when
the protocol is another, or when another machine goes on with the comparison.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from yolo_nas_ext.compare.comparison import Comparison
from yolo_nas_ext.compare.models import loaded
from yolo_nas_ext.config.compare import CompareSettings
from yolo_nas_ext.cost.latency import runtimes
from yolo_nas_ext.cost.latency.protocol import Protocol
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.files import json_of, text_of, write_text
from yolo_nas_ext.host import latency, models
from yolo_nas_ext.host.bench import Bench, Subject
from yolo_nas_ext.host.dataset import DataSet
from yolo_nas_ext.study.leaderboard import Model

FILE = "latency.json"


def protocol(config: CompareSettings) -> Protocol | None:
    """Return how latency is measured; None with ``runtime=none``.

    Raises:
        NASError: For what a runtime cannot do here.
    """
    if config.runtime is None:
        return None
    on_gpu = config.runtime in ("torch", "tensorrt") and config.device
    protocol = Protocol(
        config.runtime,
        device=str(config.device) if on_gpu else "cpu",
        precision=config.precision,
        imgsz=config.imgsz,
        threads=config.latency_threads,
        nms=config.nms,
    )
    runtimes.check(protocol)
    return protocol


def measured(comparison: Comparison, protocol: Protocol) -> Comparison:
    """Return the comparison with every model's latency, measured now unless it is recorded.

    A model that cannot be exported leaves all without one, which is said: the comparison goes on.

    Args:
        comparison: With its folder.
        protocol: Of the measurement.
    """
    data, task = comparison.training.data, comparison.training.task
    keys = {model.name: _key(model, data, task) for model in comparison.models}
    conditions = {
        "protocol": protocol.to_dict(),
        "runtime_version": runtimes.runtime_version(protocol.runtime),
        "device_name": latency.device_name_of(protocol),
    }
    record = _recorded(comparison.folder / FILE, conditions, set(keys.values()))
    if record is None:
        try:
            record = _measure(comparison, protocol, keys)
        except (NASError, TrialError) as error:
            comparison.say(f"note: latency was not measured: {error}")
            return comparison
        text = json.dumps({**conditions, "models": record}, indent=1)
        write_text(comparison.folder / FILE, text + "\n")
    found = {name: record[key] for name, key in keys.items()}
    models = tuple(
        replace(
            model,
            latency_ms=found[model.name]["median_ms"],
            latency_iqr_ms=found[model.name]["iqr_ms"],
        )
        for model in comparison.models
    )
    runs = next(iter(found.values()))["runs"]
    sizes = sorted({model.imgsz or protocol.imgsz for model in models})
    own = ", each model at its own size" if len(sizes) > 1 else ""
    how = (
        f"{protocol.setting}, {' or '.join(map(str, sizes))} px{own}; "
        f"median of {runs} runs a model in turns of all models; "
        f"{conditions['runtime_version']}, {conditions['device_name']}; {protocol.processing}"
    )
    return replace(comparison, models=models, latency=how)


def commanded(comparison: Comparison, bench: Bench) -> Comparison:
    """Return the comparison with every model's latency by a command, which keeps what it measured.

    Where it fails all are left without one, which is said: the comparison goes on.
    """
    data, task = comparison.training.data, comparison.training.task
    comparison.say(
        f"measuring the latency of {len(comparison.models)} models by {bench.command.text}"
    )
    try:
        built = _built(comparison)
        found = bench.measure(
            {
                m.name: Subject(
                    _key(m, data, task), built[m.name], m.imgsz or comparison.config.imgsz
                )
                for m in comparison.models
            }
        )
    except (NASError, TrialError) as error:
        comparison.say(f"note: latency was not measured: {error}")
        return comparison
    models = tuple(
        replace(m, latency_ms=found[m.name].median_ms, latency_iqr_ms=found[m.name].iqr_ms)
        for m in comparison.models
    )
    how = f"{bench.command.text}, median of what {bench.repeats} runs or more printed"
    return replace(comparison, models=models, latency=how)


def _measure(
    comparison: Comparison, protocol: Protocol, keys: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Return the measurements by key, of models built as they are trained."""
    comparison.say(f"measuring the latency of {len(keys)} models in turns: {protocol}")
    if busy := runtimes.busy_note():
        comparison.say(f"note: {busy}")
    built, task = _built(comparison), comparison.training.task
    sizes = {model.name: model.imgsz for model in comparison.models if model.imgsz}
    found = latency.measure_models(built, protocol, task=task, sizes=sizes)
    return {keys[name]: measurement.to_dict() for name, measurement in found.items()}


def _built(comparison: Comparison) -> dict[str, Any]:
    """Return the models by name, built as they are trained."""
    data, task = comparison.training.data, comparison.training.task
    more = {"data_kpt_shape": data.keypoints} if task == "pose" else {}
    return {
        model.name: models.build(
            model.definition,
            task=task,
            loaded=loaded(model),
            nc=data.nc,
            ch=data.channels,
            **more,
        )
        for model in comparison.models
    }


def _recorded(
    path: Path, conditions: Mapping[str, Any], keys: set[str]
) -> dict[str, dict[str, Any]] | None:
    """Return what an earlier sitting measured, if it was of all these models and so."""
    try:
        content = json_of(text_of(path))
        found = content["models"]
        same = all(content[name] == value for name, value in conditions.items())
        complete = all(found[key][name] > 0 for key in keys for name in ("median_ms", "runs"))
    except (OSError, ValueError, KeyError, TypeError):  # there is none, it is damaged or of fewer
        return None
    return found if same and complete else None


def _key(model: Model, data: DataSet, task: str) -> str:
    about = [model.definition, data.nc, data.channels, task, data.keypoints]
    if loaded(model) is not None:  # by which the network is another
        about.append(model.digest)
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()[:16]
