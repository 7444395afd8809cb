"""The measured latency of contestants: all of them in turns, once, and kept beside the trainings.

A ratio of latencies is worth something where both models took turns on the same machine. So what
one sitting has measured is kept whole, and measured again, whole, when a model has joined, when
the protocol is another, or when another machine goes on with the contest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from yolo_nas_ext.compare.runner import Contest, Contestant
from yolo_nas_ext.cost.latency import runtimes
from yolo_nas_ext.cost.latency.protocol import Protocol
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.files import write_text
from yolo_nas_ext.host import latency, models
from yolo_nas_ext.host.dataset import DataSet

FILE = "latency.json"


def measure(contest: Contest, protocol: Protocol, say: Callable[[str], None] = print) -> str:
    """Give every contestant its latency, measured now unless it is recorded.

    A model that cannot be exported leaves all without one, which is said: the contest goes on.

    Args:
        contest: With its folder; its contestants are replaced.
        protocol: Of the measurement.
        say: Prints a line.

    Returns:
        How it was measured, in words; empty where it was not.
    """
    data, task = contest.training.data, contest.training.task
    keys = {c.entrant.name: _key(c, data, task) for c in contest.contestants}
    conditions = {
        "protocol": protocol.to_dict(),
        "runtime_version": runtimes.runtime_version(protocol.runtime),
        "device_name": latency.device_name_of(protocol),
    }
    record = _recorded(contest.folder / FILE, conditions, set(keys.values()))
    if record is None:
        try:
            record = _measured(contest, protocol, keys, say)
        except (NASError, TrialError) as error:
            say(f"note: latency was not measured: {error}")
            return ""
        text = json.dumps({**conditions, "models": record}, indent=1)
        write_text(contest.folder / FILE, text + "\n")
    found = {name: record[key] for name, key in keys.items()}
    contest.contestants = tuple(
        replace(
            c,
            entrant=replace(
                c.entrant,
                latency_ms=found[c.entrant.name]["median_ms"],
                latency_iqr_ms=found[c.entrant.name]["iqr_ms"],
            ),
        )
        for c in contest.contestants
    )
    runs = next(iter(found.values()))["runs"]
    sizes = sorted({c.imgsz or protocol.imgsz for c in contest.contestants})
    own = ", each model at its own size" if len(sizes) > 1 else ""
    return (
        f"{protocol.setting}, {' or '.join(map(str, sizes))} px{own}; "
        f"median of {runs} runs a model in turns of all models; "
        f"{conditions['runtime_version']}, {conditions['device_name']}; {protocol.processing}"
    )


def _measured(
    contest: Contest, protocol: Protocol, keys: Mapping[str, str], say: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """Return the measurements by key, of models built as they are trained."""
    data, task = contest.training.data, contest.training.task
    say(f"measuring the latency of {len(keys)} models in turns: {protocol}")
    if busy := runtimes.busy_note():
        say(f"note: {busy}")
    more = {"data_kpt_shape": data.keypoints} if task == "pose" else {}
    built = {
        c.entrant.name: models.build(c.definition, task=task, nc=data.nc, ch=data.channels, **more)
        for c in contest.contestants
    }
    sizes = {c.entrant.name: c.imgsz for c in contest.contestants if c.imgsz}
    found = latency.measure_models(built, protocol, task=task, sizes=sizes)
    return {keys[name]: measurement.to_dict() for name, measurement in found.items()}


def _recorded(
    path: Path, conditions: Mapping[str, Any], keys: set[str]
) -> dict[str, dict[str, Any]] | None:
    """Return what an earlier sitting measured, if it was of all these models and so."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = content["models"]
        same = all(content[name] == value for name, value in conditions.items())
        whole = all(found[key][name] > 0 for key in keys for name in ("median_ms", "runs"))
    except (OSError, ValueError, KeyError, TypeError):  # there is none, it is damaged or of fewer
        return None
    return found if same and whole else None


def _key(contestant: Contestant, data: DataSet, task: str) -> str:
    about = [contestant.definition, data.nc, data.channels, task, data.keypoints]
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()[:16]
